"""WMT16, English to Romanian: sentences of the European Parliament and of news (Bojar et al. 2016).

Source:    Raffel et al. 2019 (T5), sections 2.4, 3.1.2 and 3.7: T5-base, which has read the prefix
           in its own training; beam search with four beams.
Command:   python -m train.finetune configs/finetune/wmt16_en_ro.py
Data:      tfds:wmt16_translate/ro-en, prepared where TensorFlow is:
           tfds build wmt16_translate/ro-en --file_format=array_record
Published: 28.0 BLEU on the test set (table 14), of sacreBLEU with the tokenizer `intl`.
Hardware:  one GPU, or one TPU core.
Time:      not measured.
Result:    not run here.

The paper goes on for 262,144 steps with 128 rows of 512 tokens each, in which sentences are packed;
here they are rows of their own, of like length in a batch. The test set is evaluated afterwards:

    python -m train.evaluate --model runs/wmt16_en_ro --data 'tfds:wmt16_translate/ro-en[test]'
"""

from transformers_jax.data.config import Table
from transformers_jax.optim import Adafactor, Constant
from transformers_jax.tasks import Translation
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        init_from="google-t5/t5-base",
        objective=Translation(
            prefix="translate English to Romanian: ",
            num_beams=4,
            max_new_tokens=128,
            bleu_tokenizer="intl",
        ),
        data=Table(
            train="tfds:wmt16_translate/ro-en",
            text="en",
            label="ro",
            length=512,
            target_length=512,
            batch=128,
        ),
        optimizer=Adafactor(peak=1e-3, schedule=Constant(warmup=0)),
        steps=262_144,
        evaluation=Evaluation(every=5000, batches=1_000_000),
        sample=Sample(count=0),
        save_every=5000,
        keep_best=True,
        out="runs/wmt16_en_ro",
    )
