"""One decoder names digits, writes docstrings and balances a pole.

Source:    Reed et al. 2022 (Gato), sections 2.1 to 2.3, at a small size: a LLaVA whose decoder
           reads the patches of a picture as they are embedded, in front of the first layer of its
           vision tower, bytes of text, and the numbers of an episode as words of their own.
Command:   python -m train.finetune configs/decisions/generalist.py
           python -m train.evaluate --model runs/generalist --data 'generated:generalist[test]'
Data:      generated:generalist: 1,437 records of a digit with its name, functions of the standard
           library with their docstrings, and an episode of CartPole (extra `eval`); 64 held out
           and 64 to test.
Hardware:  two CPU cores, shared with other processes.
Time:      335 s of processor time from start to report, for 384 thousand parameters.
Result:    of the test split 2.04 bits per byte of text; 64 of 64 names of digits; asked for 500,
           episodes returned 418.5 in the mean (those that it was trained on about 221). Of the
           validation split 1.91 bits, 62 of 64 and 418.5; 2026-11-30, Python 3.11.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.clip import CLIPVisionConfig
from transformers_jax.models.llama import LlamaConfig
from transformers_jax.models.llava import LlavaConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import Generalist
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    patches = CLIPVisionConfig(
        image_size=8,
        patch_size=4,
        num_channels=1,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
    )
    decoder = LlamaConfig(
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
    )
    return TrainConfig(
        model=LlavaConfig(vision_config=patches, text_config=decoder, vision_feature_layer=0),
        objective=Generalist(context=6, text_length=64, target_return=500.0),
        data=Table(train="generated:generalist", tokenizer="byte", batch=24),
        optimizer=AdamW(
            peak=2e-3, schedule=Cosine(warmup=0.1, final=0.0), weight_decay=0.01, b2=0.98
        ),
        steps=800,
        evaluation=Evaluation(batches=10, every=400),
        sample=Sample(count=0),
        out="runs/generalist",
    )
