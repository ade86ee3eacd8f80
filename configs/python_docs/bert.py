"""A small BERT with both tasks of the paper: masked words and next sentences.

Source:    Devlin et al. 2018, sections 3.1 and A.2, at the size of a toy.
Command:   python -m train.pretrain configs/python_docs/bert.py
Hardware:  two CPU cores, shared with other processes.
Time:      208 s from start to report, on one of the cores.
Result:    5.70 nats per masked token on all held-out text, 9.0% right; the best constant answer
           has 5.86 and 3.9%; pairs: 0.610 nats, 67.6% right; 49.5% of the places held a token.
           2026-11-21, Python 3.11.7, text f939b079b1dc9f08.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.bert import BertConfig
from transformers_jax.objectives import NextSentence
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
        objective=NextSentence(),
        data=Data(tokenizer="wordpiece", vocab_size=1024, length=128, batch=16, rows="padded"),
        optimizer=AdamW(peak=1e-3, schedule=Cosine(warmup=50, final=0.05), b2=0.98),
        steps=400,
        evaluation=Evaluation(every=125, batches=8, final_batches=1000),
        sample=Sample(count=0),
        save_every=400,
        out="runs/python_docs/bert",
    )
