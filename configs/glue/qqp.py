"""QQP: do two questions of Quora ask the same?

Source:    transformers, examples/flax/text-classification/README.md (2021): BERT-base, cased.
Command:   python -m train.finetune configs/glue/qqp.py
Data:      tfds:glue/qqp, prepared where TensorFlow is:
           tfds build glue/qqp --file_format=array_record
Published: 90.8 accuracy and 87.5 F1 (deviations 0.1): the means of five seeds.
Hardware:  one GPU, or one TPU core.
Time:      not measured.
Result:    not run here.

The report's `f1` is that of the second class, `duplicate`.
"""

from transformers_jax.data.config import Table
from transformers_jax.optim import AdamW, Linear
from transformers_jax.tasks import SequenceClassification
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        init_from="google-bert/bert-base-cased",
        objective=SequenceClassification(),
        data=Table(
            train="tfds:glue/qqp",
            text="question1",
            text_pair="question2",
            label="label",
            length=128,
            batch=32,
        ),
        optimizer=AdamW(peak=2e-5, schedule=Linear(warmup=0), weight_decay=0.0, b2=0.999, eps=1e-6),
        clip=None,
        epochs=3,
        evaluation=Evaluation(batches=1_000_000, per_epoch=1),
        sample=Sample(count=0),
        seed=3,
        out="runs/glue/qqp",
    )
