"""A model that writes dates as ISO 8601 does learns to write the day first, with LoRA of rank 1.

Source:    Hu et al. 2022; the T5 of dates.py.
Command:   python -m train.finetune configs/finetune/dates.py
           python -m train.finetune configs/finetune/dates_lora.py
Data:      generated:dotted_dates: the same days and writings, and "03.05.1979" for "1979-05-03".
Hardware:  two CPU cores, shared with other processes.
Time:      41 s of processor time, and 88 s of the run of dates.py.
Result:    without a mistake, of days that are held out, by share of trained parameters:

                                                          validation   test
               LoRA, 3,072 beside 170,968 (1.8 %)         99.81 %      99.86 %
               all of them (--adapter none --learning-rate 1e-3)
                                                          100 %        100 %
               none: the model of dates.py                             0 %

           2026-11-30, Python 3.11.7, one run of each.

The test split is measured afterwards:

    python -m train.evaluate --model runs/dates_lora --data 'generated:dotted_dates[test]'
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
