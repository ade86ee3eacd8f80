"""A small T5: spans are left out and written down by the decoder.

Source:    Raffel et al. 2019, section 3.1.4, at the size of a toy.
Command:   python -m train.pretrain configs/python_docs/t5.py
Hardware:  two CPU cores, shared with other processes.
Time:      94 s from start to report, on one of the cores.
Result:    3.90 nats per target token on all held-out text, 40.5% right; the best constant answer
           has 4.69 and 14.6%; 96.3% of the places held a token. 2026-11-21, Python 3.11.7, text
           7be720696c420ea5.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.t5 import T5Config
from transformers_jax.objectives import SpanCorruption
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=T5Config(
            num_layers=2,
            num_heads=4,
            d_model=128,
            d_kv=32,
            d_ff=512,
            dropout_rate=0.0,
        ),
        objective=SpanCorruption(),
        data=Data(tokenizer="unigram", vocab_size=4096, length=128, batch=16, rows="packed"),
        optimizer=AdamW(peak=3e-3, schedule=Cosine(warmup=50, final=0.05), b2=0.98),
        steps=250,
        evaluation=Evaluation(every=125, batches=8, final_batches=1000),
        sample=Sample(count=0),
        save_every=250,
        out="runs/python_docs/t5",
    )
