"""masked_diffusion.py goes on in blocks of eight bytes: from left to right, each by diffusion.

Source:    Arriola et al. 2025, section 3; its models begin as masked diffusion as well. Blocks of
           one token (--objective.block 1) make it an autoregressive model.
Command:   python -m train.pretrain configs/python_docs/masked_diffusion.py
           python -m train.pretrain configs/python_docs/block_diffusion.py
           transformers-jax report runs/python_docs/masked_diffusion \\
               runs/python_docs/block_diffusion runs/python_docs/bytes_causal
Hardware:  two CPU cores, shared with other processes.
Time:      268 s from start to report, on busy cores, after the run that it begins with.
Result:    at most 3.69 bits per byte of held-out text (a bound), where that run has 3.71: so few
           steps are only a beginning. 2026-12-01, Python 3.11.7, text fc398ec27f691872.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.modernbert import ModernBertConfig
from transformers_jax.objectives import BlockDiffusion
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
        objective=BlockDiffusion(block=8, counted=True, readings=2),
        data=Data(tokenizer="byte", length=128, batch=16, rows="packed"),
        optimizer=AdamW(peak=2e-3, schedule=Cosine(warmup=50, final=0.05), b2=0.98),
        steps=120,
        evaluation=Evaluation(every=120, batches=4, final_batches=60),
        sample=Sample(prompt="Return ", tokens=60),
        save_every=120,
        init_from="runs/python_docs/masked_diffusion/model",
        out="runs/python_docs/block_diffusion",
    )
