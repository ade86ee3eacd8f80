"""The name of a function by its docstring, among all names that are held out; from scratch.

Source:    in-batch negatives as in Henderson et al. 2017; the mean of the tokens of a small encoder
           (Reimers and Gurevych 2019).
Command:   python -m train.finetune configs/finetune/function_names.py
Hardware:  two CPU cores, shared with many other processes.
Time:      428 s from start to report, of which the run had 94 s of a core.
Result:    recall@10 0.823, nDCG@10 0.679 on the 611 names of the validation split, where BM25 has a
           recall@10 of 0.655; 0.804 on the 587 of the test split (train.evaluate --data
           "generated:function_names[test]"), where BM25 has 0.584. BM25 is that of
           tests/data/test_function_names.py. 2026-11-29, Python 3.11.7, text 407ba7a3a852db56.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.bert import BertConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import Embedding
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=BertConfig(
            num_hidden_layers=1,
            num_attention_heads=4,
            hidden_size=192,
            intermediate_size=384,
            max_position_embeddings=64,
            hidden_dropout_prob=0.1,
            attention_probs_dropout_prob=0.1,
            hidden_act="gelu",
        ),
        objective=Embedding(scale=20.0, symmetric=True),
        data=Table(
            train="generated:function_names",
            tokenizer="wordpiece",
            vocab_size=4096,
            length=64,
            batch=256,
        ),
        optimizer=AdamW(
            peak=2e-3, schedule=Cosine(warmup=0.1, final=0.05), b2=0.98, weight_decay=0.05
        ),
        epochs=4,
        evaluation=Evaluation(batches=1000, per_epoch=1),
        sample=Sample(count=0),
        keep_best=True,
        out="runs/finetune/function_names",
    )
