"""The same model and text as masked_diffusion.py, in blocks: from left to right, each by diffusion.

Blocks of one token make it an autoregressive model of the same size, with the same parameters and
on the same documents: the last of the three runs.

Source:    Arriola et al. 2025, sections 3 to 5.
Command:   python -m train.pretrain configs/python_docs/block_diffusion.py
           python -m train.pretrain configs/python_docs/block_diffusion.py --objective.block 1 \\
               --out runs/python_docs/blocks_of_one
           transformers-jax report runs/python_docs/{masked_diffusion,block_diffusion,blocks_of_one}
Hardware:  two CPU cores, shared with other processes.
Time:      pending
Result:    pending
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
