"""A small ELECTRA: a generator replaces words, a discriminator tells which.

Source:    Clark et al. 2020.
Command:   python -m train.pretrain configs/python_docs/electra.py
Hardware:  two CPU cores, shared with other processes.
Time:      562 s from start to report, on one of the cores.
Result:    generator 4.98 nats per masked token (the best constant answer: 5.84), discriminator
           0.365 nats per token, which is about what a constant answer has (a ninth of the tokens
           are replaced): at this size it has not begun to tell them; 99.7% of the places held a
           token. 2026-11-21, Python 3.11.7, text ed8a71fa44372de0.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.electra import ElectraConfig
from transformers_jax.objectives import ReplacedToken
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=ElectraConfig(
            num_hidden_layers=3,
            num_attention_heads=4,
            hidden_size=128,
            intermediate_size=512,
            max_position_embeddings=128,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            embedding_size=128,
        ),
        objective=ReplacedToken(),
        data=Data(tokenizer="wordpiece", vocab_size=1024, length=128, batch=16, rows="packed"),
        optimizer=AdamW(peak=1e-3, schedule=Cosine(warmup=50, final=0.05), b2=0.98),
        steps=1000,
        evaluation=Evaluation(every=125, batches=8, final_batches=1000),
        sample=Sample(count=0),
        save_every=1000,
        out="runs/python_docs/electra",
    )
