"""A small GPT that learns Python's own documentation: the README's first run.

Source:    our own; byte pairs learned in the run, a GPT-2 of 3 layers.
Command:   python -m train.pretrain configs/gpt_python_docs.py
Hardware:  two CPU cores, part of the time shared with other processes.
Time:      255 s from start to samples once (2026-11-20); 454 s with four other processes beside it.
Result:    2.004 bits per byte of all held-out text, 2026-11-21, Python 3.11.7 (1.995 with another
           order of the rows); an order-2 model of the same text has 2.45.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.gpt2 import GPT2Config
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=GPT2Config(
            n_layer=3,
            n_head=4,
            n_embd=192,
            n_positions=256,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        ),
        data=Data(path="python_docs", tokenizer="bpe", vocab_size=2048, length=128, batch=16),
        optimizer=AdamW(peak=2e-3, schedule=Cosine(warmup=50, final=0.05), b2=0.98),
        steps=600,
        evaluation=Evaluation(every=100, batches=6, final_batches=1000),
        sample=Sample(prompt="Return ", tokens=120),
        save_every=200,
        out="runs/gpt_python_docs",
    )
