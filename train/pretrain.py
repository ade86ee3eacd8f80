"""Pretraining, a whole run:  python -m train.pretrain CONFIG [--steps N] [--out DIR] ...

The chapters, and where to read them:

    1. config   a file of configs/ with `config()`, or a run's config.json, and flags over it
                    transformers_jax/training/config.py, flags.py
    2. text     a text becomes ids, ids become batches: batch n depends on the seed and n only
                    transformers_jax/training/data.py, tokenizers.py
    3. model    from the config, its parameters born where the mesh wants them
                    transformers_jax/pretrained.py
    4. step     objective, gradient, clipping, AdamW: one compiled program
                    transformers_jax/training/state.py, objectives.py, optim.py
    5. fit      steps, evaluations and checkpoints until the end, or until a signal
                    transformers_jax/training/fit.py, checkpoint.py
    6. report   samples, the exported model, loss.png, report.md
                    transformers_jax/training/report.py

`transformers-jax pretrain` is the same command.
"""

import sys

from transformers_jax.training.pretrain import main

if __name__ == "__main__":
    sys.exit(main())
