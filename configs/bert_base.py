"""BERT-base (110M) with masked words and next sentences, as in the paper.

The text is not part of this project: pass --data.path with a folder that `transformers-jax tokenize
--sentences` has made (the paper: English Wikipedia and BooksCorpus, 3.3 billion words) with a
vocab.txt. It brings its tokenizer along.

Source:    Devlin et al. 2018, sections 3.1 and A.2: 256 rows of 512, 1,000,000 steps, learning rate
           1e-4, 10,000 steps of warm-up, linear decay, weight decay 0.01, dropout 0.1. The first
           nine tenths of the steps have rows of 128: run those with --steps 900000
           --schedule-steps 1000000 --data.length 128, and go on with --steps 1000000
           --allow-change data.length.
Command:   python -m train.pretrain configs/bert_base.py --data.path TOKENS --mesh.data 16
Hardware:  4 Cloud TPUs (16 chips) in the paper.
Time:      4 days, from the paper.
Result:    expected: GLUE 79.6 after fine-tuning, masked-word perplexity 3.99 (tables 1 and 6), from
           the paper; not run here.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.bert import BertConfig
from transformers_jax.objectives import NextSentence
from transformers_jax.optim import AdamW, Linear
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=BertConfig(),
        objective=NextSentence(),
        data=Data(path="tokens", tokenizer="none", length=512, batch=256, rows="padded"),
        optimizer=AdamW(
            peak=1e-4, schedule=Linear(warmup=10_000), b1=0.9, b2=0.999, eps=1e-6, weight_decay=0.01
        ),
        steps=1_000_000,
        compute_dtype="bfloat16",
        evaluation=Evaluation(every=10_000, batches=40),
        sample=Sample(count=0),
        save_every=5000,
        out="runs/bert_base",
    )
