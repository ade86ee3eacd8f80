"""A small GPT-2 whose rows hold several documents that do not see each other.

Source:    our own.
Command:   python -m train.pretrain configs/python_docs/gpt2_packed.py
Hardware:  two CPU cores, shared with other processes.
Time:      137 s from start to report, on one of the cores.
Result:    5.04 nats per token on all held-out text, 13.2% right; the best constant answer has 6.27
           and 5.3%; 99.7% of the places held a token. 2026-11-21, Python 3.11.7, text
           15bddb34e19795f0.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.gpt2 import GPT2Config
from transformers_jax.objectives import CausalLM
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=GPT2Config(
            n_layer=3,
            n_head=4,
            n_embd=128,
            n_positions=128,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        ),
        objective=CausalLM(),
        data=Data(tokenizer="bpe", vocab_size=2048, length=128, batch=16, rows="packed"),
        optimizer=AdamW(peak=3e-3, schedule=Cosine(warmup=50, final=0.05), b2=0.98),
        steps=250,
        evaluation=Evaluation(every=125, batches=8, final_batches=1000),
        sample=Sample(prompt="Return ", tokens=80),
        save_every=250,
        out="runs/python_docs/gpt2_packed",
    )
