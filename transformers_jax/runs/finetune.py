"""The command `finetune --task NAME --model DIR_OR_ID --data.train FILE ...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from transformers_jax.runs.pretrain import run_command, show_usage

USAGE = """\
usage: {program} --task NAME --model DIR_OR_ID --data.train FILE [--data.validation FILE] ...
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
    return run_command(arguments, program, _configured)


def _configured(arguments: Sequence[str], program: str) -> Any:
    from transformers_jax.runs.recipe import configured

    return configured(arguments, program)
