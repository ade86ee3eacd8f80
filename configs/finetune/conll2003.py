"""CoNLL-2003: names of persons, places, organisations and others (Tjong Kim Sang and De Meulder).

Source:    Devlin et al. 2018 (BERT), section 5.3: BERT-base, cased, the first token of each word;
           settings as in transformers, examples/flax/token-classification/README.md.
Command:   python -m train.finetune configs/finetune/conll2003.py
Data:      tfds:conll2003, prepared where TensorFlow is:
           tfds build conll2003 --file_format=array_record
Published: 96.4 F1 on the development set and 92.4 on the test set (table 7), which BERT reads with
           the sentences around each; here every sentence is read alone.
Hardware:  one GPU, or one TPU core.
Time:      not measured.
Result:    not run here.

The test set is evaluated afterwards:

    python -m train.evaluate --model runs/conll2003 --data 'tfds:conll2003[test]'
"""

from transformers_jax.data.config import Table
from transformers_jax.optim import AdamW, Linear
from transformers_jax.tasks import TokenClassification
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        init_from="google-bert/bert-base-cased",
        objective=TokenClassification(),
        data=Table(
            train="tfds:conll2003",
            validation="tfds:conll2003[dev]",
            text="tokens",
            label="ner",
            length=128,
            batch=32,
        ),
        optimizer=AdamW(peak=2e-5, schedule=Linear(warmup=0), weight_decay=0.0, b2=0.999),
        epochs=3,
        evaluation=Evaluation(batches=1_000_000, per_epoch=1),
        sample=Sample(count=0),
        out="runs/conll2003",
    )
