"""ELECTRA-small (14M): a generator of a quarter of its width, and a discriminator.

The text is not part of this project: pass --data.path with a folder that `transformers-jax
tokenize` has made (the paper: English Wikipedia and BooksCorpus) with a vocab.txt. It brings its
tokenizer along.

Source:    Clark et al. 2020, table 6: 12 layers of width 256 over embeddings of 128, rows of 128,
           batch 128, 1,000,000 steps, learning rate 5e-4, 10,000 steps of warm-up, linear decay,
           15 % masked, discriminator loss weighted by 50.
Command:   python -m train.pretrain configs/electra_small.py --data.path TOKENS
Hardware:  one V100 in the paper.
Time:      4 days, from the paper.
Result:    expected: GLUE 79.9 after fine-tuning (table 1), from the paper; not run here.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.electra import ElectraConfig
from transformers_jax.objectives import ReplacedToken
from transformers_jax.optim import AdamW, Linear
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=ElectraConfig(
            embedding_size=128,
            hidden_size=256,
            intermediate_size=1024,
            num_hidden_layers=12,
            num_attention_heads=4,
        ),
        objective=ReplacedToken(rate=0.15, fraction=0.25, weight=50.0),
        data=Data(path="tokens", tokenizer="none", length=128, batch=128, rows="packed"),
        optimizer=AdamW(
            peak=5e-4, schedule=Linear(warmup=10_000), b1=0.9, b2=0.999, eps=1e-6, weight_decay=0.01
        ),
        steps=1_000_000,
        compute_dtype="bfloat16",
        evaluation=Evaluation(every=10_000, batches=40),
        sample=Sample(count=0),
        save_every=5000,
        out="runs/electra_small",
    )
