"""A small ModernBERT of bytes that writes by revising: masked diffusion, in packed rows.

Source:    Nie et al. 2025 (LLaDA), section 2; Sahoo et al. 2024 (MDLM), section 3.
Command:   python -m train.pretrain configs/python_docs/masked_diffusion.py
           transformers-jax report runs/python_docs/masked_diffusion runs/python_docs/bytes_causal
Hardware:  two CPU cores, shared with other processes.
Time:      685 s from start to report, on busy cores.
Result:    at most 3.71 bits per byte of held-out text (a bound), 24.9% of the hidden bytes right. A
           decoder of as many parameters (bytes_causal.py) has 2.43 after half of the steps, as it
           learns of every byte in every step. 2026-12-01, Python 3.11.7, text fc398ec27f691872.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.modernbert import ModernBertConfig
from transformers_jax.objectives import MaskedDiffusion
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=ModernBertConfig(
            num_hidden_layers=4,
            num_attention_heads=4,
            hidden_size=128,
            intermediate_size=256,
            max_position_embeddings=128,
            local_attention=16,
            classifier_pooling="mean",
        ),
        objective=MaskedDiffusion(counted=True, readings=2),
        data=Data(tokenizer="byte", length=128, batch=16, rows="packed"),
        optimizer=AdamW(peak=3e-3, schedule=Cosine(warmup=50, final=0.05), b2=0.98),
        steps=800,
        evaluation=Evaluation(every=400, batches=8, final_batches=60),
        sample=Sample(prompt="Return ", tokens=60),
        save_every=800,
        out="runs/python_docs/masked_diffusion",
    )
