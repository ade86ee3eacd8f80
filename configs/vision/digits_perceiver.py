"""Handwritten digits by a Perceiver: 16 latents read single pixels.

Source:    our own: latents that attend to the pixels of a digit, with the Fourier features of their
           places (Jaegle et al. 2021, Perceiver, section 4.1), and twice to themselves, twice over.
Command:   python -m train.finetune configs/vision/digits_perceiver.py
           python -m train.evaluate --model runs/digits_perceiver --data 'generated:digits[test]'
Data:      generated:digits, the digits of scikit-learn (extra `eval`): 1,797 of 13 people.
Hardware:  two CPU cores, shared with other processes.
Time:      329 s for 464 of 899 steps, on a busy machine.
Result:    not run to its end here. A run was stopped after these 464 steps, when 100% of the digits
           of its last fifty steps were named, of those that are trained on.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.perceiver import PerceiverConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import ImageClassification
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=PerceiverConfig(
            architectures=("PerceiverForImageClassificationFourier",),
            image_size=8,
            num_latents=16,
            d_latents=64,
            num_blocks=2,
            num_self_attends_per_block=2,
            num_self_attention_heads=4,
            num_cross_attention_heads=4,
            qk_channels=64,
            v_channels=64,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.1,
        ),
        objective=ImageClassification(smoothing=0.1),
        data=Table(train="generated:digits", batch=64),
        optimizer=AdamW(
            peak=2e-3, schedule=Cosine(warmup=0.1, final=0.0), weight_decay=0.05, b2=0.99
        ),
        epochs=40,
        evaluation=Evaluation(batches=10, every=200),
        sample=Sample(count=0),
        keep_best=True,
        save_every=200,
        out="runs/digits_perceiver",
    )
