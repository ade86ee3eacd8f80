"""A small Llama of the same size and bytes as masked_diffusion.py, from left to right.

Source:    Touvron et al. 2023, at the size of a toy.
Command:   python -m train.pretrain configs/python_docs/bytes_causal.py
Hardware:  two CPU cores, shared with other processes.
Time:      297 s from start to report, on busy cores.
Result:    2.43 bits per byte of held-out text, 53.2% right. 2026-12-01, Python 3.11.7, text
           fc398ec27f691872.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.llama import LlamaConfig
from transformers_jax.objectives import CausalLM
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=LlamaConfig(
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            hidden_size=128,
            intermediate_size=256,
            max_position_embeddings=128,
            tie_word_embeddings=True,
        ),
        objective=CausalLM(),
        data=Data(tokenizer="byte", length=128, batch=16, rows="stream"),
        optimizer=AdamW(peak=3e-3, schedule=Cosine(warmup=50, final=0.05), b2=0.98),
        steps=400,
        evaluation=Evaluation(every=200, batches=4, final_batches=60),
        sample=Sample(prompt="Return ", tokens=60),
        save_every=400,
        out="runs/python_docs/bytes_causal",
    )
