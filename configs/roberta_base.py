"""RoBERTa-base (125M).

The text is not part of this project: pass --data.path with a folder that `transformers-jax
tokenize` has made (the paper: 160 GB of books, Wikipedia, news, web pages and stories) with a
folder of vocab.json and merges.txt. It brings its tokenizer along.

Source:    Liu et al. 2019, section 4 and table 9: full sentences in rows of 512, dynamic masks of
           15 %, 8192 rows, 500,000 steps, learning rate 6e-4, 24,000 steps of warm-up, linear
           decay, betas 0.9 and 0.98, weight decay 0.01, no clipping.
Command:   python -m train.pretrain configs/roberta_base.py --data.path TOKENS --mesh.data 8 \\
               --mesh.fsdp 8 --accumulate 4
Hardware:  1024 V100 in the paper (for the large model).
Time:      not given for this size.
Result:    expected: MNLI 87.6 and SST-2 94.8 after fine-tuning, from the paper's released model;
           not run here.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.roberta import RobertaConfig
from transformers_jax.objectives import MaskedLM
from transformers_jax.optim import AdamW, Linear
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1),
        objective=MaskedLM(),
        data=Data(path="tokens", tokenizer="none", length=512, batch=8192, rows="stream"),
        optimizer=AdamW(
            peak=6e-4, schedule=Linear(warmup=24_000), b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.01
        ),
        steps=500_000,
        clip=1e9,
        accumulate=4,
        compute_dtype="bfloat16",
        evaluation=Evaluation(every=5000, batches=20),
        sample=Sample(count=0),
        save_every=2500,
        out="runs/roberta_base",
    )
