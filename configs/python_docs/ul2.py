"""A small UL2: seven ways to leave text out, each announced by a token.

Source:    Tay et al. 2022, section 3.1.
Command:   python -m train.pretrain configs/python_docs/ul2.py
Hardware:  two CPU cores, shared with other processes.
Time:      137 s from start to report, on one of the cores.
Result:    4.79 nats per target token on all held-out text, 25.4% right; the best constant answer
           has 5.41 and 10.8%; 84.8% of the places held a token. 2026-11-21, Python 3.11.7, text
           fc630e51c5a7ed3c.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.t5 import T5Config
from transformers_jax.objectives import UL2
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
            d_ff=352,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
        ),
        objective=UL2(),
        data=Data(tokenizer="unigram", vocab_size=4096, length=128, batch=16, rows="packed"),
        optimizer=AdamW(peak=3e-3, schedule=Cosine(warmup=50, final=0.05), b2=0.98),
        steps=250,
        evaluation=Evaluation(every=125, batches=8, final_batches=1000),
        sample=Sample(count=0),
        save_every=250,
        out="runs/python_docs/ul2",
    )
