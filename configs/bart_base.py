"""BART-base (139M): text infilling and permuted sentences.

The text is not part of this project: pass --data.path with a folder that `transformers-jax tokenize
--sentences` has made (the paper: 160 GB as RoBERTa) with a folder of vocab.json and merges.txt. It
brings its tokenizer along.

Source:    Lewis et al. 2019, sections 2.2 and 5.1: 30 % of the tokens in spans with Poisson(3)
           lengths, all sentences permuted, 8000 rows, 500,000 steps, dropout switched off for the
           last tenth (the paper's large model; it gives no settings for this size). Learning rate
           and betas as RoBERTa-base (Liu et al. 2019, table 9).
Command:   python -m train.pretrain configs/bart_base.py --data.path TOKENS --mesh.data 8 \\
               --mesh.fsdp 8 --accumulate 4
Hardware:  not given in the paper.
Time:      not given.
Result:    expected: SQuAD 1.1 F1 90.8 for a base model trained on books and Wikipedia only (table
           1), from the paper; not run here.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.bart import BartConfig
from transformers_jax.objectives import Denoising
from transformers_jax.optim import AdamW, Linear
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=BartConfig(
            d_model=768,
            encoder_layers=6,
            decoder_layers=6,
            encoder_attention_heads=12,
            decoder_attention_heads=12,
            encoder_ffn_dim=3072,
            decoder_ffn_dim=3072,
        ),
        objective=Denoising(),
        data=Data(path="tokens", tokenizer="none", length=512, batch=8000, rows="packed"),
        optimizer=AdamW(
            peak=6e-4, schedule=Linear(warmup=24_000), b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.01
        ),
        steps=500_000,
        accumulate=4,
        compute_dtype="bfloat16",
        evaluation=Evaluation(every=5000, batches=20),
        sample=Sample(count=0),
        save_every=2500,
        out="runs/bart_base",
    )
