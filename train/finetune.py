"""Fine-tuning, from any checkpoint to a measured result:

    python -m train.finetune --task sequence_classification --model DIR_OR_ID --data.train a.csv

The chapters, and where to read them:

    1. recipe     a task, a model and a few settings become the config of a run
                      transformers_jax/runs/finetune.py
    2. table      a file of records by column, split into train and validation
                      transformers_jax/data/tables.py, transformers_jax/data/records.py
    3. task       records become rows, outputs predictions, predictions and references figures
                      transformers_jax/tasks/, transformers_jax/metrics/
    4. fit        the same steps, evaluations and checkpoints as of pretraining
                      transformers_jax/runs/fit.py, transformers_jax/training/

`transformers-jax finetune` is the same command.
"""

import sys

from transformers_jax.printing import until_interrupted


def main() -> int:
    """Runs the command; returns the exit status."""

    def command() -> int:
        from transformers_jax.runs.finetune import main

        return main()

    return until_interrupted(command, "python -m train.finetune")


if __name__ == "__main__":
    sys.exit(main())
