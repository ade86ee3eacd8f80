"""Sums of numbers of six digits, written at once: the control of configs/finetune/sums_in_steps.py.

Source:    our own: a GPT-2 of two layers, drawn from the seed, that reads and writes characters.
Command:   python -m train.finetune configs/finetune/sums.py
           python -m train.evaluate --model runs/sums --data 'generated:sums[test]'
Hardware:  two CPU cores, shared with other processes.
Time:      140 s from start to report, for 107 thousand parameters.
Result:    none of 200 held-out sums without a mistake, and none of 200 of the test split, where
           columns that are written first give all; 2026-12-01, Python 3.11.7.
           Nor is one of 200 right after 14 epochs (--epochs 14), in which it reads as many tokens
           as the other run; 87.2% of its tokens are.

Of most sums that the report shows the first two digits are right, and those behind them guessed.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.gpt2 import GPT2Config
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import Instruction
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=GPT2Config(
            n_positions=96,
            n_embd=64,
            n_layer=2,
            n_head=4,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        ),
        objective=Instruction(written=200, max_new_tokens=12),
        data=Table(train="generated:sums", tokenizer="character", batch=64),
        optimizer=AdamW(
            peak=3e-3, schedule=Cosine(warmup=0.1, final=0.0), weight_decay=0.01, b2=0.98
        ),
        epochs=4,
        evaluation=Evaluation(batches=4, per_epoch=1),
        sample=Sample(count=0),
        out="runs/sums",
    )
