"""A small scaling law: sizes x tokens on Python's own documentation.

Source:    the fit of Hoffmann et al. 2022, section 3.3 (approach 3), on models of 40 to 450
           thousand parameters: too small and too few for its exponents, enough for its shape.
Command:   python -m train.pretrain configs/scaling_python_docs.py --out runs/scaling \\
               --sweep model.n_embd=32,64,128 --sweep steps=100,200,300
           transformers-jax report --scaling runs/scaling --out scaling.md
Hardware:  two CPU cores, shared with other processes; the runs had one of them.
Time:      572 s for the nine runs.
Result:    nats per byte on all held-out text from 3.20 (5.0e10 FLOPs) to 2.53 (1.7e12 FLOPs); on
           the frontier L(C) = 2.56 + 7.6e10 C^-1.04 within 1 %, with an exponent between 0.08 and
           1.7 (90 %): nine runs show the curve and do not settle it. 2026-11-21, Python 3.11.7.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.gpt2 import GPT2Config
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """One of the runs; the sweep sets its width and its steps."""
    return TrainConfig(
        model=GPT2Config(
            n_layer=2,
            n_head=4,
            n_embd=64,
            n_positions=128,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        ),
        data=Data(tokenizer="byte", length=128, batch=16),
        optimizer=AdamW(peak=3e-3, schedule=Cosine(warmup=20, final=0.1), b2=0.98),
        steps=300,
        evaluation=Evaluation(every=0, batches=1000),
        sample=Sample(count=0),
        save_every=1000,
        out="runs/scaling",
    )
