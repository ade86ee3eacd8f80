"""A small Perceiver IO that fills in masked bytes of the Python documentation.

Source:    Jaegle et al. 2021, Perceiver IO, section 4.1 (bytes, no vocabulary to learn; 15 % of
           them masked), at a five-hundredth of its size.
Command:   python -m train.pretrain configs/python_docs/perceiver.py
Hardware:  two CPU cores, shared with other processes.
Time:      169 s of processor time from start to report, for 361 thousand parameters.
Result:    3.18 nats per masked byte on all held-out text, 16.0% right; the best constant answer
           has 3.28 and 15.9%. In this time it learns how frequent bytes are, and little of what
           stands beside them: places are all that its queries know, and what to look for behind
           the latents takes longer to find than in an encoder whose tokens keep their places.
           2026-11-30, Python 3.11.7, text fc398ec27f691872.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.perceiver import PerceiverConfig
from transformers_jax.objectives import MaskedLM
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=PerceiverConfig(
            num_latents=32,
            d_latents=96,
            d_model=64,
            num_self_attends_per_block=3,
            num_self_attention_heads=4,
            num_cross_attention_heads=4,
            self_attention_widening_factor=2,
            max_position_embeddings=128,
            initializer_range=0.1,
            attention_probs_dropout_prob=0.0,
        ),
        objective=MaskedLM(),
        data=Data(tokenizer="byte", length=128, batch=16, rows="stream"),
        optimizer=AdamW(peak=2e-3, schedule=Cosine(warmup=100, final=0.05), b2=0.98),
        steps=1500,
        evaluation=Evaluation(every=500, batches=8, final_batches=200),
        sample=Sample(count=0),
        save_every=1500,
        out="runs/python_docs/perceiver",
    )
