"""The ModernBERT of modernbert.py with twice the vocabulary, trained for three times as many steps.

Source:    Warner et al. 2024, sections 2.1 and 2.2.1 (30 % masked, no next sentences).
Command:   python -m train.pretrain configs/python_docs/modernbert_long.py
Hardware:  two CPU cores, shared with other processes.
Time:      607 s of processor time from start to report.
Result:    3.78 nats per masked token on all held-out text, 35.8% right (of other words than those
           of modernbert.py). 2026-11-29, Python 3.11.7, text 18001b0ef69af00d.
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
        data=Data(tokenizer="wordpiece", vocab_size=4096, length=128, batch=16, rows="packed"),
        optimizer=AdamW(peak=3e-3, schedule=Cosine(warmup=100, final=0.02), b2=0.98),
        steps=1500,
        evaluation=Evaluation(every=500, batches=8, final_batches=1000),
        sample=Sample(count=0),
        save_every=500,
        out="runs/python_docs/modernbert_long",
    )
