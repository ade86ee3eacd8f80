"""A small BART: what is missing is put back, and sentences in their order.

Source:    Lewis et al. 2019, section 2.2.
Command:   python -m train.pretrain configs/python_docs/bart.py
Hardware:  two CPU cores, shared with other processes.
Time:      295 s from start to report, on one of the cores.
Result:    4.39 nats per token on all held-out text, 16.8% right; the best constant answer has 5.91
           and 4.1%; 90.3% of the places held a token. 2026-11-21, Python 3.11.7, text
           831fd684987f2776.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.bart import BartConfig
from transformers_jax.objectives import Denoising
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=BartConfig(
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            d_model=128,
            encoder_ffn_dim=512,
            decoder_ffn_dim=512,
            max_position_embeddings=192,
            dropout=0.0,
        ),
        objective=Denoising(),
        data=Data(tokenizer="bpe", vocab_size=1024, length=128, batch=16, rows="packed"),
        optimizer=AdamW(peak=1e-3, schedule=Cosine(warmup=50, final=0.05), b2=0.98),
        steps=400,
        evaluation=Evaluation(every=125, batches=8, final_batches=1000),
        sample=Sample(count=0),
        save_every=400,
        out="runs/python_docs/bart",
    )
