"""A small Mixtral: four experts in every layer, two a token, and a loss that balances them.

Source:    Jiang et al. 2024, section 2.1; the balance loss, Fedus et al. 2021, section 2.2.
Command:   python -m train.pretrain configs/python_docs/mixtral.py
Hardware:  two CPU cores, shared with other processes.
Time:      355 s from start to report, on one of the cores.
Result:    4.488 nats per token, 2.047 bits per byte on the held-out text of the end, and a balance
           loss of 2.006 (2 where choices are even). The least and the most chosen of the four
           experts of a layer have 15 and 36 % of its choices in the first, 8 and 46 % in the
           second, 20 and 31 % in the third (routing.png): the loss joins the tokens of all layers,
           so that layers make up for one another. 2026-11-30, Python 3.11.7, text
           85d02e51e817f75e.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.mixtral import MixtralConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=MixtralConfig(
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            hidden_size=128,
            intermediate_size=192,
            max_position_embeddings=256,
            num_local_experts=4,
            num_experts_per_tok=2,
            output_router_logits=True,
            router_aux_loss_coef=0.01,
        ),
        data=Data(tokenizer="bpe", vocab_size=2048, length=128, batch=16),
        optimizer=AdamW(peak=2e-3, schedule=Cosine(warmup=50, final=0.05), b2=0.98),
        steps=400,
        evaluation=Evaluation(every=100, batches=6, final_batches=1000),
        sample=Sample(prompt="Return ", tokens=120),
        save_every=400,
        out="runs/python_docs/mixtral",
    )
