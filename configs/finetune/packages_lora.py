"""The run of packages_modernbert.py with LoRA on words and matrices in place of all parameters.

Source:    Hu et al. 2022; a ModernBERT that has read the same documentation.
Command:   python -m train.pretrain configs/python_docs/modernbert_long.py \\
               --out runs/modernbert_long
           python -m train.finetune configs/finetune/packages_lora.py
Data:      generated:packages: docstrings of the running Python, of eight packages.
Hardware:  two CPU cores, shared with other processes.
Time:      70 s of processor time, beside other processes.
Result:    accuracy 0.881 of the 252 records of the validation split, by which the best pass is
           chosen, and 0.859 of the 1,078 of the test split, mean of two seeds, with 22,792 trained
           parameters beside 1,198,344 (1.9 %), of which the head has 1,032. All of the same model
           trained (packages_modernbert.py) has 0.913 and 0.893. 2026-11-30, Python 3.11.7.

LoRA is three points below all parameters here: the words of a docstring tell its package, as
logistic regression on TF-IDF shows, and few parameters learn few words. dates_lora.py is a task for
which they suffice.

The test split is measured afterwards:

    python -m train.evaluate --model runs/packages_lora --data 'generated:packages[test]'
"""

from transformers_jax.data.config import Table
from transformers_jax.models.adapters.records import LoRA
from transformers_jax.optim import AdamW, Linear
from transformers_jax.tasks import SequenceClassification
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        init_from="runs/modernbert_long/model",
        adapter=LoRA(
            rank=1,
            alpha=16,
            targets=("Wqkv", "Wo", "dense", "tok_embeddings"),
            rank_pattern=(("tok_embeddings", 4),),
            alpha_pattern=(("tok_embeddings", 2),),
        ),
        objective=SequenceClassification(),
        data=Table(train="generated:packages", length=128, batch=32),
        optimizer=AdamW(peak=3e-3, schedule=Linear(warmup=0.1), weight_decay=0.0, b2=0.999),
        epochs=5,
        evaluation=Evaluation(batches=1_000_000, per_epoch=1),
        sample=Sample(count=0),
        keep_best=True,
        merge=True,
        out="runs/packages_lora",
    )
