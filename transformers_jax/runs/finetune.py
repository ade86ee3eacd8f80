"""The command `finetune --task NAME --model DIR_OR_ID --data.train FILE ...`."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tyro.conf import DisallowNone

from transformers_jax import flags
from transformers_jax.printing import print_line
from transformers_jax.runs.pretrain import Sweeping, run_command, show_usage

USAGE = """\
usage: {program} --task NAME --model DIR_OR_ID --data.train FILE [--data.validation FILE] ...
       {program} --task NAME --model DIR_OR_ID --data.train FILE --seeds N ...
       {program} CONFIG [--out DIR] ...
CONFIG is a Python file with config(), or the config.json of a run.

--task NAME            TASKS
--model DIR_OR_ID      a directory, a run, or a hub id
--data.train FILE      a file, folder or pattern of CSV, TSV, JSONL or Parquet, tfds:NAME, hf:NAME,
                       generated:NAME; columns: --data.text, --data.text-pair, --data.label
--data.validation FILE by default a tenth of the records is held out
--data.length TOKENS   the longest row; by default that of the longest record
--epochs 3  --batch 32  --learning-rate 2e-5 (of most tasks)  --seed 0
--adapter NAME         ADAPTERS; by default all parameters are trained
--seeds N              N runs, and the mean and deviation of their metrics
--out DIR              folder of the run (runs/finetune)

{program} --task NAME --model DIR_OR_ID --help lists every flag"""


def main(arguments: Sequence[str] | None = None, program: str = "python -m train.finetune") -> int:
    """Runs the command; returns the exit code of `pretrain.run_command`.

    Raises:
        KeyboardInterrupt: as of `pretrain.run_command`.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    helped = not {"-h", "--help"}.isdisjoint(arguments)
    named = any(one.partition("=")[0] == "--model" for one in arguments)
    if not arguments or (helped and arguments[0].startswith("-") and not named):
        from transformers_jax.runs.recipe import ADAPTERS, OF_TEXT, TASKS

        names = textwrap.fill(", ".join((*TASKS, *OF_TEXT)), 76).replace("\n", "\n" + " " * 23)
        adapters = ", ".join(name for name in ADAPTERS if name != "none")
        usage = USAGE.replace("TASKS", names).replace("ADAPTERS", adapters)
        return show_usage(usage, ["--help"] if helped else [], program)
    seeds, rest = flags.parse_known(Seeds, arguments)
    if seeds.seeds is None:
        return run_command(arguments, program, _configured)
    if seeds.seeds < 2:
        print_line(f"error: --seeds ({seeds.seeds}) must be at least 2", error=True)
        return 2
    if flags.parse_known(Sweeping, rest)[0].sweep:
        print_line(
            "error: --seeds is a sweep of its own: leave it out, and add seed=0,1 to --sweep",
            error=True,
        )
        return 2
    swept = ",".join(map(str, range(seeds.seeds)))
    code = run_command([*rest, "--sweep", f"seed={swept}"], program, _configured)
    if code == 0:
        from transformers_jax.runs.seeds import report_seeds

        shared = flags.parse_known(Sweeping, rest)[1]
        print_line(report_seeds(_configured(shared, program).out, seeds.seeds))
    return code


@dataclass(frozen=True)
class Seeds:
    """The flag that trains several times."""

    seeds: DisallowNone[int | None] = None
    """so many runs, with the seeds 0, 1, ..., and the mean and deviation of their figures"""


def _configured(arguments: Sequence[str], program: str) -> Any:
    from transformers_jax.runs.recipe import configured

    return configured(arguments, program)
