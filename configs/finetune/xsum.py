"""XSum: a sentence that says what an article of the BBC is about (Narayan et al. 2018).

Source:    transformers, examples/flax/summarization/README.md: BART-base, 64 rows on each of eight
           devices, beams as the checkpoint's own settings have them.
Command:   python -m train.finetune configs/finetune/xsum.py
Data:      tfds:xsum, prepared where TensorFlow is; its articles have to be fetched by hand:
           tfds build xsum --file_format=array_record --manual_dir=DIR
Published: 17.0 ROUGE-2 on the validation set after six passes.
Hardware:  one GPU, or one TPU core.
Time:      not measured.
Result:    not run here.

A single device takes the batch in parts: --accumulate 8.
"""

from transformers_jax.data.config import Table
from transformers_jax.optim import AdamW, Linear
from transformers_jax.tasks import Summarization
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        init_from="facebook/bart-base",
        objective=Summarization(num_beams=4, max_new_tokens=64),
        data=Table(
            train="tfds:xsum",
            text="document",
            label="summary",
            length=512,
            target_length=64,
            batch=512,
        ),
        optimizer=AdamW(peak=5e-5, schedule=Linear(warmup=0), weight_decay=0.0, b2=0.999),
        clip=None,
        epochs=6,
        evaluation=Evaluation(batches=1_000_000, per_epoch=1),
        sample=Sample(count=0),
        out="runs/xsum",
    )
