"""The command `pretrain CONFIG [--flag value ...]`: a config, flags over it, and `fit`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

USAGE = (
    "usage: {program} CONFIG [--steps N] [--out DIR] [--data.path FILE] [--mesh.data N] ...\n"
    "       {program} CONFIG --sweep NAME=V1,V2 [--sweep ...] [--sweep-jobs N] [--out DIR] ...\n"
    "CONFIG is a Python file with config(), or the config.json of a run; "
    "{program} CONFIG --help lists every flag"
)


def main(arguments: Sequence[str] | None = None, program: str = "python -m train.pretrain") -> int:
    """Runs the command; what goes wrong is told in one line. Returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0].startswith("-"):
        print(USAGE.format(program=program), file=sys.stderr)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    try:
        from transformers_jax.runs import flags
        from transformers_jax.training import config

        grid, jobs, rest = flags.sweeps(arguments[1:])
        run = flags.override(config.load(arguments[0]), rest, program)
        if grid:
            flags.check_sweep(run, grid, program)
            from transformers_jax.runs.sweep import run_sweep

            return run_sweep(arguments[0], flags.without(rest, "--out"), grid, run.out, jobs)
        keep_compiled_programs()
        from transformers_jax.runs.fit import fit

        return fit(run, shlex.join([*program.split(), *arguments])).exit_code
    except Exception as error:
        if os.environ.get("TRANSFORMERS_JAX_TRACEBACK"):
            raise
        told = isinstance(error, (ValueError, FloatingPointError))
        kind = "" if told else f"{type(error).__name__}: "
        more = "" if told else " (TRANSFORMERS_JAX_TRACEBACK=1 shows where)"
        print(f"error: {kind}{' '.join(str(error).split())[:2000]}{more}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def keep_compiled_programs() -> None:
    """The second start of a command finds its programs compiled, unless JAX is told a place."""
    import jax

    from transformers_jax.data.python_docs import cache_dir

    if getattr(jax.config, "jax_compilation_cache_dir") is None:  # noqa: B009
        jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


if __name__ == "__main__":
    sys.exit(main())
