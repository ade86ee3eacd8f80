"""Questions about facts of invented people; a quarter has no answer in the text.

Source:    our own, in the format of SQuAD 2.0 (Rajpurkar et al. 2018).
Command:   python -m train.pretrain configs/python_docs/modernbert.py --out runs/modernbert
           python -m train.finetune configs/finetune/facts.py
Data:      generated:facts; the names in a split are in no other.
Hardware:  two CPU cores, shared with other processes.
Time:      284 s of processor time, beside a dozen other processes.
Result:    exact match 45.3 and F1 48.6 of the 800 questions of the validation split, in the best
           pass: what the kind of the fact alone gives (49.4, if one of those that fit is drawn). In
           five passes the model finds the facts that are asked for, and has not begun to compare
           names. 2026-11-29, Python 3.11.7.
"""

from transformers_jax.data.config import Table
from transformers_jax.optim import AdamW, Linear
from transformers_jax.tasks import QuestionAnswering
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        init_from="runs/modernbert/model",
        objective=QuestionAnswering(),
        data=Table(train="generated:facts", batch=32),
        optimizer=AdamW(peak=2e-3, schedule=Linear(warmup=0.1), weight_decay=0.01, b2=0.98),
        epochs=5,
        evaluation=Evaluation(batches=1_000_000, per_epoch=1),
        sample=Sample(count=0),
        keep_best=True,
        out="runs/facts",
    )
