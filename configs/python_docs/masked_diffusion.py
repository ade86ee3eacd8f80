"""A small ModernBERT that writes by revising: masked diffusion, in packed rows.

Source:    Nie et al. 2025 (LLaDA), section 2; Sahoo et al. 2024 (MDLM), section 3.
Command:   python -m train.pretrain configs/python_docs/masked_diffusion.py
Hardware:  two CPU cores, shared with other processes.
Time:      pending
Result:    pending
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
            local_attention=256,
            classifier_pooling="mean",
        ),
        objective=MaskedDiffusion(counted=True),
        data=Data(tokenizer="bpe", vocab_size=2048, length=128, batch=16, rows="packed"),
        optimizer=AdamW(peak=3e-3, schedule=Cosine(warmup=50, final=0.05), b2=0.98),
        steps=600,
        evaluation=Evaluation(every=300, batches=8, final_batches=1000),
        sample=Sample(prompt="Return ", tokens=60),
        save_every=600,
        out="runs/python_docs/masked_diffusion",
    )
