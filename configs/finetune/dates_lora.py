"""A model that writes dates as ISO 8601 does learns to write the day first, with LoRA of rank 1.

Source:    Hu et al. 2022; the T5 of dates.py.
Command:   python -m train.finetune configs/finetune/dates.py
           python -m train.finetune configs/finetune/dates_lora.py
Data:      generated:dotted_dates: the same days and writings, and "03.05.1979" for "1979-05-03".
"""

from transformers_jax.data.config import Table
from transformers_jax.models.adapters.records import LoRA
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import Translation
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        init_from="runs/dates/model",
        adapter=LoRA(rank=1, alpha=2, targets=("q", "k", "v", "o")),
        objective=Translation(),
        data=Table(train="generated:dotted_dates", batch=64),
        optimizer=AdamW(
            peak=1e-2, schedule=Cosine(warmup=0.1, final=0.0), weight_decay=0.0, b2=0.98
        ),
        epochs=2,
        evaluation=Evaluation(batches=10, per_epoch=1, final_batches=1000),
        sample=Sample(count=0),
        merge=True,
        out="runs/dates_lora",
    )
