"""The decoder that configs/finetune/preference.py starts from: it writes first lines of docstrings.

Source:   configs/finetune/preference.py.
Command:  python -m train.finetune configs/finetune/preference_start.py
Result:   not run here as a whole.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.gpt2 import GPT2Config
from transformers_jax.optim import AdamW, Linear
from transformers_jax.tasks import Instruction
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=192),
        objective=Instruction(),
        data=Table(train="generated:docstrings", tokenizer="bpe", vocab_size=512, batch=32),
        optimizer=AdamW(peak=4e-3, schedule=Linear(warmup=0.05)),
        epochs=2,
        evaluation=Evaluation(batches=1_000_000, per_epoch=1),
        sample=Sample(count=0),
        keep_best=True,
        out="runs/preference-start",
    )
