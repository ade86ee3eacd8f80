"""A small ModernBERT: masked words in packed rows, pre-norm and rotary positions.

Source:    Warner et al. 2024, sections 2.1 and 2.2.1 (30 % masked, no next sentences).
Command:   python -m train.pretrain configs/python_docs/modernbert.py
Hardware:  two CPU cores, shared with other processes.
Time:      191 s of processor time from start to report.
Result:    4.32 nats per masked token on all held-out text, 26.7% right; 99.9% of the places held a
           token. 2026-11-29, Python 3.11.7, text 47dfda335b425769.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.modernbert import ModernBertConfig
from transformers_jax.objectives import MaskedLM
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=ModernBertConfig(
            num_hidden_layers=4,
            num_attention_heads=4,
            hidden_size=128,
            intermediate_size=256,
            max_position_embeddings=512,
            local_attention=32,
            classifier_pooling="mean",
        ),
        objective=MaskedLM(rate=0.3),
        data=Data(tokenizer="wordpiece", vocab_size=2048, length=128, batch=16, rows="packed"),
        optimizer=AdamW(peak=3e-3, schedule=Cosine(warmup=50, final=0.05), b2=0.98),
        steps=500,
        evaluation=Evaluation(every=250, batches=4, final_batches=1000),
        sample=Sample(count=0),
        save_every=500,
        out="runs/python_docs/modernbert",
    )
