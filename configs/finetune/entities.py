"""Which words of a docstring are names of modules, classes, exceptions, functions, parameters?

Source:    our own; a ModernBERT that has read the same documentation.
Command:   python -m train.pretrain configs/python_docs/modernbert.py --out runs/modernbert
           python -m train.finetune configs/finetune/entities.py
Data:      generated:entities: paragraphs of docstrings of the running Python, split by module.
Hardware:  two CPU cores, shared with other processes.
Time:      224 s of processor time, beside a dozen other processes.
Result:    F1 (seqeval) 0.678 of the 573 paragraphs of the modules of the validation split, by which
           the best pass is chosen, and 0.748 of the 548 of the test split; the most frequent tag of
           each word has 0.411 and 0.388. 2026-11-29, Python 3.11.7.

The test split is measured afterwards:

    python -m train.evaluate --model runs/entities --data 'generated:entities[test]'
"""

from transformers_jax.data.config import Table
from transformers_jax.optim import AdamW, Linear
from transformers_jax.tasks import TokenClassification
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        init_from="runs/modernbert/model",
        objective=TokenClassification(),
        data=Table(train="generated:entities", length=160, batch=32),
        optimizer=AdamW(peak=1e-3, schedule=Linear(warmup=0.1), weight_decay=0.01, b2=0.999),
        epochs=4,
        evaluation=Evaluation(batches=1_000_000, per_epoch=1),
        sample=Sample(count=0),
        keep_best=True,
        out="runs/entities",
    )
