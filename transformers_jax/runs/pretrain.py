"""The command `pretrain CONFIG [--flag value ...]`: a config, flags over it, and `fit`.

What else trains (`finetune`) runs by the same function, from a config that it makes otherwise.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tyro.conf import DisallowNone, UseAppendAction

from transformers_jax import allocator, flags
from transformers_jax.allocator import keep_freed_memory
from transformers_jax.flags import Misuse
from transformers_jax.printing import from_interrupt, print_line, print_result, to_nowhere

USAGE = (
    "usage: {program} CONFIG [--steps N] [--out DIR] [--data.path FILE] [--mesh.data N] ...\n"
    "       {program} CONFIG --init-from DIR_OR_ID ...\n"
    "       {program} CONFIG --sweep NAME=V1,V2 [--sweep ...] [--sweep-jobs N] [--out DIR] ...\n"
    "       {program} CONFIG --distributed auto|HOST:PORT,N,I [--peer-timeout SECONDS] ...\n"
    "       {program} CONFIG --dry-run ...\n"
    "CONFIG is a Python file with config(), or the config.json of a run; "
    "{program} CONFIG --help lists every flag"
)


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
ROOM = "free some space on that disk, or choose another --out; the same command then goes on"
KEPT = (
    "the memory that a step frees is kept for the next step, which is faster "
    f"({allocator.OFF}=0: it goes back to the system)"
)

Configure = Callable[[Sequence[str], str], Any]
"""(arguments, program) -> the config that they mean."""


def main(arguments: Sequence[str] | None = None, program: str = "python -m train.pretrain") -> int:
    """Runs the command; returns the exit code of `run_command`.

    Raises:
        KeyboardInterrupt: as of `run_command`.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0].startswith("-"):
        return show_usage(USAGE, arguments, program)
    return run_command(arguments, program, configure)


def configure(arguments: Sequence[str], program: str) -> Any:
    """The config of a file, the first of the arguments, with the flags over it."""
    from transformers_jax.runs.configured import configured
    from transformers_jax.training import config

    return configured(config.load(arguments[0]), arguments[1:], program)


def show_usage(usage: str, arguments: Sequence[str], program: str) -> int:
    """Says how a command is used; an error, unless that was asked for."""
    helped = list(arguments[:1]) in (["-h"], ["--help"])
    print(usage.format(program=program), file=sys.stdout if helped else sys.stderr)
    return 0 if helped else 2


def run_command(arguments: list[str], program: str, configure: Configure) -> int:
    """Trains as the arguments say; an error is one line. Returns the exit code: 2 where the
    arguments are no command, 1 where it failed.

    Raises:
        KeyboardInterrupt: Ctrl-C before the run itself takes care of it.
    """
    code = 1
    try:
        code = _run(arguments, program, configure)
    except Exception:  # TRANSFORMERS_JAX_TRACEBACK
        traceback.print_exc()
    if "jax" in sys.modules:
        from transformers_jax.processes import abandon

        abandon(code)
    return code


def _run(arguments: list[str], program: str, configure: Configure) -> int:
    try:
        return _train_or_sweep(arguments, program, configure)
    except BrokenPipeError:  # the reader, say `head`, has had enough
        to_nowhere(sys.stdout)
        return 141
    except Exception as error:
        if os.environ.get("TRANSFORMERS_JAX_TRACEBACK"):
            raise
        if isinstance(error, OSError) and error.errno in FULL:
            error = ValueError(
                f"{error.filename or 'a file'} cannot be written: {error.strerror}; {ROOM}"
            )
        expected = isinstance(error, (ValueError, FloatingPointError, ConnectionError))
        kind = "" if expected else f"{type(error).__name__}: "
        more = "" if expected else " (TRANSFORMERS_JAX_TRACEBACK=1 shows where)"
        if from_interrupt(error):
            raise KeyboardInterrupt from error
        print_line(f"error: {kind}{' '.join(str(error).split())[:2000]}{more}", error=True)
        return 2 if isinstance(error, Misuse) else 1


@dataclass(frozen=True)
class Sweeping:
    """The flags in addition to those of the config: of a sweep, and of a dry run."""

    sweep: UseAppendAction[tuple[str, ...]] = ()
    """a setting and its values, such as optimizer.peak=1e-4,3e-4"""
    sweep_jobs: DisallowNone[int | None] = None
    """runs at a time; 1 if not given"""
    dry_run: bool = False
    """say what the run would be and cost, and make nothing"""


@dataclass(frozen=True)
class SweepingInto(Sweeping):
    """The same, with the folder of the sweep; each run has a folder in it."""

    out: str | None = None


@dataclass(frozen=True)
class Joining:
    """The flags of one process of several, in addition to those of the config."""

    distributed: DisallowNone[str | None] = None
    """several processes, each started with this: auto, or HOST:PORT,N,I, the address of process 0,
    how many there are, and which this one is"""
    peer_timeout: DisallowNone[float | None] = None
    """seconds after which a process that does not answer, or does not come along, ends the run; 20
    if not given, 0 never"""


@dataclass(frozen=True)
class Command(Sweeping, Joining):
    """The flags of the command itself, in addition to those of the config above."""


def _train_or_sweep(arguments: list[str], program: str, configure: Configure) -> int:
    kept = keep_freed_memory()  # before anything imports JAX
    joining, own = flags.parse_known(Joining, arguments)
    sweeping, settings = flags.parse_known(Sweeping, own)
    timeout = {} if joining.peer_timeout is None else {"timeout": joining.peer_timeout}
    if joining.distributed is not None:
        from transformers_jax.processes import connect, disconnect

        if sweeping.sweep:
            raise ValueError("--sweep starts runs of one process; start each run of several itself")
        if sweeping.dry_run:
            raise ValueError("--dry-run is of one process: leave --distributed out")
        connect(joining.distributed, **timeout)
    try:
        if joining.distributed is None:
            run = configure(settings, program)
        else:  # what one process cannot read is refused by all
            from transformers_jax.processes import together

            run = together(lambda: configure(settings, program))
    except SystemExit:  # after the help of the config
        flags.parse(Command, ["--help"], f"{program} CONFIG")
        raise
    if sweeping.sweep:
        from transformers_jax.runs.sweep import Start, run_sweep

        _, shared = flags.parse_known(SweepingInto, arguments)
        if sweeping.dry_run:
            raise ValueError("--dry-run is of one run: leave --sweep out, and choose its values")
        jobs = 1 if sweeping.sweep_jobs is None else sweeping.sweep_jobs
        start = Start(program.split()[-1].removeprefix("train."), tuple(shared), configure)
        return run_sweep(start, _grid(sweeping.sweep), run.out, jobs)
    if sweeping.sweep_jobs is not None:
        raise Misuse("--sweep-jobs are runs of a sweep; give --sweep NAME=V1,V2 as well")
    if sweeping.dry_run:
        from transformers_jax.runs.dry_run import dry_run

        print_result(str(dry_run(run)))
        return 0
    keep_compiled_programs()
    from transformers_jax.runs.fit import fit

    command = shlex.join([*program.split(), *arguments])
    code = fit(run, command, notes=(KEPT,) * kept, **timeout).exit_code
    if joining.distributed is not None:
        disconnect()
    return code


def _grid(sweeps: Sequence[str]) -> dict[str, list[str]]:
    """{"data.batch": ["8", "16"]} of ["data.batch=8,16"]; the values of a setting that is named
    several times are joined."""
    grid: dict[str, list[str]] = {}
    for sweep in sweeps:
        name, _, values = sweep.partition("=")
        grid.setdefault(name.removeprefix("--").replace("-", "_"), []).extend(values.split(","))
    return grid


def keep_compiled_programs() -> None:
    """Lets the second start of a command find its programs compiled, unless JAX is configured."""
    import jax

    from transformers_jax.data.python_docs import cache_dir

    if getattr(jax.config, "jax_compilation_cache_dir") is None:  # noqa: B009
        jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


if __name__ == "__main__":
    sys.exit(main())
