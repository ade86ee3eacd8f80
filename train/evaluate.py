"""Measures a model on a table, by the metrics of its task:

    python -m train.evaluate --model DIR --data test.csv

The records are read as for fine-tuning (transformers_jax/tasks/), rows of like length are computed
together (transformers_jax/runs/predictions.py), and figures come from transformers_jax/metrics/.
`transformers-jax evaluate` is the same command; `transformers-jax predict` writes predictions.
"""

import sys

from transformers_jax.printing import until_interrupted


def main() -> int:
    """Runs the command; returns the exit status."""

    def command() -> int:
        from transformers_jax.runs.evaluate import main

        return main()

    return until_interrupted(command, "python -m train.evaluate")


if __name__ == "__main__":
    sys.exit(main())
