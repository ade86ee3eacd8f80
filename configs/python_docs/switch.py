"""A small Switch Transformer: T5 with eight experts in every second layer, one a token.

Source:    Fedus et al. 2021, section 2, on the spans of Raffel et al. 2019, section 3.1.4.
Command:   python -m train.pretrain configs/python_docs/switch.py
Hardware:  two CPU cores, shared with other processes.
Time:      368 s from start to report, on one of the cores.
Result:    4.703 nats per target token on the held-out text of the end, 28.5 % right, and 0.021 of
           balance and z losses. In the encoder every expert is in use: the least and the most
           chosen have 7 and 18 % of the choices of the second layer, 7 and 21 % of the fourth, of
           which 7 and 11 % find no room. In the decoder two experts of sixteen are never chosen,
           and the most chosen have 30 and 25 % (routing.png). 2026-11-30, Python 3.11.7, text
           2a35d90f4ef9f728.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.switch_transformers import SwitchTransformersConfig
from transformers_jax.objectives import SpanCorruption
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=SwitchTransformersConfig(
            num_layers=4,
            num_decoder_layers=4,
            num_heads=4,
            d_model=128,
            d_kv=32,
            d_ff=256,
            num_experts=8,
            num_sparse_encoder_layers=2,
            num_sparse_decoder_layers=2,
            expert_capacity=32,
            router_aux_loss_coef=0.01,
            dropout_rate=0.0,
        ),
        objective=SpanCorruption(),
        data=Data(tokenizer="bpe", vocab_size=1024, length=128, batch=16),
        optimizer=AdamW(peak=2e-3, schedule=Cosine(warmup=50, final=0.05), b2=0.98),
        steps=400,
        evaluation=Evaluation(every=125, batches=8, final_batches=1000),
        sample=Sample(count=0),
        save_every=400,
        out="runs/python_docs/switch",
    )
