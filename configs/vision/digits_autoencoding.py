"""Digits that pass through 8 latents: pixels, latents, queries at the places of pixels, pixels.

Source:    our own: the autoencoding of Perceiver IO (Jaegle et al. 2021b, section 4.3), of single
           pixels of pictures, whose queries are Fourier features of their places.
Command:   python -m train.finetune configs/vision/digits_autoencoding.py
Data:      generated:digits, the digits of scikit-learn (extra `eval`): 1,797 of 13 people; no label
           is read.
Hardware:  two CPU cores, shared with other processes.
Time:      not measured.
Result:    not run to its end here.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.perceiver import PerceiverConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import ImagePretraining
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=PerceiverConfig(
            image_size=8,
            num_latents=8,
            d_latents=64,
            num_self_attends_per_block=3,
            num_self_attention_heads=4,
            num_cross_attention_heads=4,
            qk_channels=64,
            v_channels=64,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.1,
        ),
        objective=ImagePretraining(),
        data=Table(train="generated:digits", batch=64),
        optimizer=AdamW(
            peak=2e-3, schedule=Cosine(warmup=0.1, final=0.0), weight_decay=0.01, b2=0.99
        ),
        epochs=40,
        evaluation=Evaluation(batches=10, every=200),
        sample=Sample(count=0),
        out="runs/digits_autoencoding",
    )
