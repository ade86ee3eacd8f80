"""A Llama of 1.1 billion parameters, as TinyLlama.

The text is not part of this project: pass --data.path with a folder that `transformers-jax
tokenize` has made (the source: SlimPajama and StarCoder data, about 1 trillion tokens) with Llama's
tokenizer. It brings its tokenizer along.

Source:    Zhang et al. 2024 (TinyLlama), section 2: 22 layers of width 2048, 32 heads over 4 key
           and value heads, 2 million tokens a step in rows of 2048, learning rate 4e-4 to 4e-5 by a
           cosine, 2000 steps of warm-up, betas 0.9 and 0.95, weight decay 0.1, clipping 1.
Command:   python -m train.pretrain configs/llama_1b.py --data.path TOKENS --mesh.data 2 \\
               --mesh.fsdp 8
Hardware:  16 A100-40GB in the source.
Time:      90 days for 3 trillion tokens, from the source.
Result:    expected: HellaSwag 59.2 after all of it (table 2), from the source; not run here.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.llama import LlamaConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=LlamaConfig(
            vocab_size=32000,
            hidden_size=2048,
            intermediate_size=5632,
            num_hidden_layers=22,
            num_attention_heads=32,
            num_key_value_heads=4,
            max_position_embeddings=2048,
        ),
        data=Data(path="tokens", tokenizer="none", length=2048, batch=1024),
        optimizer=AdamW(
            peak=4e-4, schedule=Cosine(warmup=2000, final=0.1), b1=0.9, b2=0.95, weight_decay=0.1
        ),
        steps=1_430_000,
        accumulate=4,
        remat="dots",
        compute_dtype="bfloat16",
        evaluation=Evaluation(every=5000, batches=40),
        sample=Sample(tokens=256),
        save_every=2000,
        out="runs/llama_1b",
    )
