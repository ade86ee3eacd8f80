"""A small BERT that fills in whole words and runs of them.

Source:    whole-word masking of the BERT repository (2019); n-grams as in ALBERT (Lan et al. 2019,
           section 4.1).
Command:   python -m train.pretrain configs/python_docs/whole_word.py
Hardware:  two CPU cores, shared with other processes.
Time:      227 s from start to report, on one of the cores.
Result:    5.56 nats per masked token on all held-out text, 11.1% right; the best constant answer
           has 5.88 and 3.3%; 99.8% of the places held a token. 2026-11-21, Python 3.11.7, text
           4d0e116c40b8317c.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.bert import BertConfig
from transformers_jax.objectives import MaskedLM
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=BertConfig(
            num_hidden_layers=3,
            num_attention_heads=4,
            hidden_size=128,
            intermediate_size=512,
            max_position_embeddings=128,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        objective=MaskedLM(whole_word=True, ngram=3),
        data=Data(tokenizer="wordpiece", vocab_size=1024, length=128, batch=16, rows="packed"),
        optimizer=AdamW(peak=1e-3, schedule=Cosine(warmup=50, final=0.05), b2=0.98),
        steps=400,
        evaluation=Evaluation(every=125, batches=8, final_batches=1000),
        sample=Sample(count=0),
        save_every=400,
        out="runs/python_docs/whole_word",
    )
