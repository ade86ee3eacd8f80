"""The README's GPT learns to say what a function does, by its name and its parameters.

Source:    our own; the model of configs/gpt_python_docs.py, which the README trains in runs/gpt.
Command:   python -m train.finetune configs/finetune/docstrings.py
           python -m train.evaluate --model runs/docstrings --data 'generated:docstrings[test]'
Hardware:  two CPU cores, shared with other processes.
Time:      162 s of CPU time from start to report.
Result:    3.842 nats per token of held-out answers, 4.738 before; 3.798 of those of the test split.
           2026-11-29, Python 3.11.7.

Of three functions it says first (`transformers-jax predict`):

    def read(self, size):       Read the file.
    def is_valid(name):         Return True if the current file is a file.
    def parse_date(text):       Parse a string for a string.

and then goes on: the tokenizer of the README's GPT has no token that ends a text, so that where an
answer ends is not learned.
"""

from transformers_jax.data.config import Table
from transformers_jax.optim import AdamW, Linear
from transformers_jax.tasks import Instruction
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        init_from="runs/gpt/model",
        objective=Instruction(),
        data=Table(train="generated:docstrings", batch=32),
        optimizer=AdamW(peak=5e-4, schedule=Linear(warmup=0.1), weight_decay=0.01, b2=0.999),
        epochs=4,
        evaluation=Evaluation(batches=1000, per_epoch=1),
        sample=Sample(count=0),
        keep_best=True,
        out="runs/docstrings",
    )
