"""SQuAD 1.1: the part of a paragraph that answers a question (Rajpurkar et al. 2016).

Source:    transformers, examples/pytorch/question-answering/README.md: BERT-base, uncased.
Command:   python -m train.finetune configs/finetune/squad.py
Data:      tfds:squad, prepared where TensorFlow is:
           tfds build squad --file_format=array_record
Published: 81.2 exact match and 88.5 F1 on the development set (the paper of BERT, table 2: 80.8
           and 88.5).
Hardware:  one GPU, or one TPU core.
Time:      not measured.
Result:    not run here.
"""

from transformers_jax.data.config import Table
from transformers_jax.optim import AdamW, Linear
from transformers_jax.tasks import QuestionAnswering
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        init_from="google-bert/bert-base-uncased",
        objective=QuestionAnswering(best=20, longest_answer=30),
        data=Table(
            train="tfds:squad",
            text="question",
            text_pair="context",
            label="answers",
            length=384,
            too_long="stride",
            stride=128,
            batch=12,
        ),
        optimizer=AdamW(peak=3e-5, schedule=Linear(warmup=0), weight_decay=0.0, b2=0.999),
        epochs=2,
        evaluation=Evaluation(batches=1_000_000, per_epoch=1),
        sample=Sample(count=0),
        out="runs/squad",
    )
