"""MNLI: does a sentence follow from another, contradict it, or neither (Williams et al. 2018)?

Source:    transformers, examples/flax/text-classification/README.md (2021): BERT-base, cased.
Command:   python -m train.finetune configs/glue/mnli.py
Data:      tfds:glue/mnli, prepared where TensorFlow is:
           tfds build glue/mnli --file_format=array_record
Published: 83.8 accuracy on the matched genres (deviation 0.2): the means of five seeds.
Hardware:  one GPU, or one TPU core.
Time:      not measured.
Result:    not run here.

The other genres are evaluated afterwards:

    python -m train.evaluate --model runs/glue/mnli --data 'tfds:glue/mnli[validation_mismatched]'
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
            train="tfds:glue/mnli",
            validation="tfds:glue/mnli[validation_matched]",
            text="premise",
            text_pair="hypothesis",
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
        out="runs/glue/mnli",
    )
