"""A masked autoencoder of digits sees 6 of their 16 patches and makes the others; no label is read.

Source:    our own: a ViT of four layers on patches of 2 x 2, and a decoder
           of two layers, drawn from the seed (He et al. 2022).
Command:   python -m train.finetune configs/vision/digits_mae.py
Data:      generated:digits, the digits of scikit-learn (extra `eval`): 1,797 of 13 people.
Hardware:  two CPU cores, shared with other processes.
Time:      282 s of processor time from start to report, for 155 thousand parameters.
Result:    squared error of hidden pixels (levels from -1 to 1) 0.118 of the validation split, 0.238
           after 500 of the 3,368 steps; what it is good for is in digits_few.py; 2026-11-30,
           Python 3.11.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.vit_mae import ViTMAEConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import ImagePretraining
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=ViTMAEConfig(
            image_size=8,
            patch_size=2,
            num_channels=1,
            hidden_size=64,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=128,
            decoder_hidden_size=32,
            decoder_num_hidden_layers=2,
            decoder_num_attention_heads=4,
            decoder_intermediate_size=64,
            mask_ratio=0.6,
        ),
        objective=ImagePretraining(),
        data=Table(train="generated:digits", batch=128),
        optimizer=AdamW(
            peak=2e-3, schedule=Cosine(warmup=0.1, final=0.0), weight_decay=0.05, b2=0.95
        ),
        epochs=300,
        evaluation=Evaluation(batches=10, every=500),
        sample=Sample(count=0),
        out="runs/digits_mae",
    )
