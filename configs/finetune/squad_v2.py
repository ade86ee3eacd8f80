"""SQuAD 2.0: SQuAD with questions that a paragraph does not answer (Rajpurkar et al. 2018).

Source:    Clark et al. 2020 (ELECTRA), appendix B: the base model, its rate falling by layer.
Command:   python -m train.finetune configs/finetune/squad_v2.py
Data:      tfds:squad/v2.0, prepared where TensorFlow is:
           tfds build squad/v2.0 --file_format=array_record
Published: 80.5 exact match on the development set (google-research/electra, README, "Expected
           Results"), the median of many seeds.
Hardware:  one GPU, or one TPU core.
Time:      not measured.
Result:    not run here.

The head scores first and last tokens by themselves, as BERT's does; ELECTRA's scores a last token
given the first, and whether there is an answer by a classifier of its own.
"""

from transformers_jax.data.config import Table
from transformers_jax.optim import AdamW, Linear
from transformers_jax.tasks import QuestionAnswering
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        init_from="google/electra-base-discriminator",
        objective=QuestionAnswering(best=20, longest_answer=30, allows_none=True),
        data=Table(
            train="tfds:squad/v2.0",
            text="question",
            text_pair="context",
            label="answers",
            length=512,
            too_long="stride",
            stride=128,
            batch=32,
        ),
        optimizer=AdamW(
            peak=1e-4,
            schedule=Linear(warmup=0.1),
            weight_decay=0.0,
            layer_decay=0.8,
            b2=0.999,
            eps=1e-6,
        ),
        epochs=2,
        evaluation=Evaluation(batches=1_000_000, per_epoch=1),
        sample=Sample(count=0),
        out="runs/squad_v2",
    )
