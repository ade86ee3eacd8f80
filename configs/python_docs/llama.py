"""A small Llama: rotary positions, grouped keys, gated feed-forward.

Source:    Touvron et al. 2023, at the size of a toy.
Command:   python -m train.pretrain configs/python_docs/llama.py
Hardware:  two CPU cores, shared with other processes.
Time:      113 s from start to report, on one of the cores.
Result:    4.76 nats per token on all held-out text, 16.7% right; the best constant answer has 6.27
           and 5.3%; 99.7% of the places held a token. 2026-11-21, Python 3.11.7, text
           15bddb34e19795f0.
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
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            hidden_size=128,
            intermediate_size=352,
            max_position_embeddings=128,
        ),
        objective=CausalLM(),
        data=Data(tokenizer="bpe", vocab_size=2048, length=128, batch=16, rows="packed"),
        optimizer=AdamW(peak=3e-3, schedule=Cosine(warmup=50, final=0.05), b2=0.98),
        steps=250,
        evaluation=Evaluation(every=125, batches=8, final_batches=1000),
        sample=Sample(prompt="Return ", tokens=80),
        save_every=250,
        out="runs/python_docs/llama",
    )
