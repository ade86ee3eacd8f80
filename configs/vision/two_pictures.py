"""A Flamingo-like model answers a question about one of two pictures that stand in its text.

Source:    our own: an Idefics of four layers, of which every second looks at the picture before
           each word (Alayrac et al. 2022, section 2.2), with a ViT of two layers and a resampler;
           drawn from the seed.
Command:   python -m train.finetune configs/vision/two_pictures.py
           python -m train.evaluate --model runs/two_pictures --data 'generated:two_pictures[test]'
           python -m train.evaluate --model runs/two_pictures \\
               --data 'generated:two_pictures_swapped[test]'
Data:      generated:two_pictures: 8,000 pairs of shapes to train on, 400 held out and 400 to test;
           two_pictures_swapped has these with the pictures in the other order, and other answers.
Hardware:  two CPU cores, shared with other processes.
Time:      233 s of processor time from start to report, for 409 thousand parameters.
Result:    98.5% of the answers of the test split are right to the letter, and 97.2% of those to the
           same pairs in the other order; 99.0% of the validation split. Who sees one picture alone
           can have 57%, and who answers both orders alike 50% of both; 2026-11-30, Python 3.11.

Gates begin open (alpha_initializer="ones"): nothing else in the model is trained yet.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.idefics import (
    IdeficsConfig,
    IdeficsPerceiverConfig,
    IdeficsVisionConfig,
)
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import Captioning
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    vision = IdeficsVisionConfig(
        image_size=16,
        patch_size=4,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    resampler = IdeficsPerceiverConfig(
        resampler_n_latents=8, resampler_depth=1, resampler_n_heads=4, resampler_head_dim=16
    )
    return TrainConfig(
        model=IdeficsConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=64,
            cross_layer_interval=2,
            alpha_initializer="ones",
            vision_config=vision,
            perceiver_config=resampler,
            use_resampler=True,
        ),
        objective=Captioning(),
        data=Table(train="generated:two_pictures", tokenizer="bpe", vocab_size=384, batch=32),
        optimizer=AdamW(
            peak=1e-3, schedule=Cosine(warmup=0.1, final=0.0), weight_decay=0.01, b2=0.98
        ),
        epochs=10,
        evaluation=Evaluation(batches=4, every=500, final_batches=1000),
        sample=Sample(count=0),
        out="runs/two_pictures",
    )
