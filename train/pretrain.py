"""Pretraining, a whole run:  python -m train.pretrain CONFIG [--steps N] [--out DIR] ...

The chapters, and where to read them:

    1. config     a file of configs/ with `config()`, or a run's config.json, and flags over it
                      transformers_jax/training/config.py, transformers_jax/flags.py
    2. text       sources become ids, ids pieces, pieces examples, examples rows of a batch; batch
                  and place in the stream depend on the seed and on the place before, on no more
                      transformers_jax/data/corpus.py, stream.py, packing.py
    3. objective  what becomes of a piece, and what a step makes smaller
                      transformers_jax/objectives/
    4. model      from the config, its parameters born where the mesh wants them
                      transformers_jax/pretrained.py
    5. step       gradient, clipping, the optimizer: one compiled program
                      transformers_jax/training/step.py, transformers_jax/optim/
    6. fit        steps, evaluations and checkpoints until the end, or until a signal
                      transformers_jax/runs/fit.py, transformers_jax/training/prepare.py, loop.py
    7. report     samples, the exported model, curves, report.md
                      transformers_jax/runs/report.py

`transformers-jax pretrain` is the same command.
"""

import sys

from transformers_jax.printing import until_interrupted


def main() -> int:
    """Runs the command; returns the exit status."""

    def command() -> int:
        from transformers_jax.runs.pretrain import main

        return main()

    return until_interrupted(command, "python -m train.pretrain")


if __name__ == "__main__":
    sys.exit(main())
