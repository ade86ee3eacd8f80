"""The command `finetune --task NAME --model DIR_OR_ID --data.train FILE ...`."""

from __future__ import annotations

import sys
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
CONFIG is a Python file with config(), or the config.json of a run; tasks are
TASKS;
{program} --task NAME --model DIR_OR_ID --help lists every flag"""


def main(arguments: Sequence[str] | None = None, program: str = "python -m train.finetune") -> int:
    """Runs the command; returns the exit code of `pretrain.run_command`.

    Raises:
        KeyboardInterrupt: as of `pretrain.run_command`.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        from transformers_jax.runs.recipe import OF_TEXT, TASKS

        usage = USAGE.replace("TASKS", ", ".join((*TASKS, *OF_TEXT)))
        return show_usage(usage, arguments, program)
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
