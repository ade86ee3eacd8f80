"""To which package a module of the standard library belongs, by a Transformer along the imports.

Source:    our own; the layers, with gates, are those of Shi et al. 2020, section 3.1.
Command:   python -m train.finetune configs/graphs/imports_transformer.py
           python -m train.evaluate --model runs/imports_transformer \\
               --data 'generated:imports[test]'
Control:   the same with --objective.no-edges, which sees no edge: a feed-forward network.
Data:      as of imports_gat.py.
Hardware:  two CPU cores, shared with other processes.
Time:      half a minute of steps, for 118 thousand parameters.
Result:    68.9% of the test split, and without edges 69.3%: with so few nodes whose class is known
           it gains nothing from the edges, where GAT has 98.4%; 2026-11-30.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.graph_transformer import GraphTransformerConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import NodeClassification
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=GraphTransformerConfig(
            in_channels=400,
            hidden_channels=64,
            num_layers=2,
            out_channels=2,  # as many as the table has packages
            heads=8,
            beta=True,
            dropout=0.5,
        ),
        objective=NodeClassification(),
        data=Table(train="generated:imports", batch=1),
        optimizer=AdamW(peak=5e-3, schedule=Cosine(warmup=20), weight_decay=0.05),
        steps=200,
        evaluation=Evaluation(every=20, batches=1),
        sample=Sample(count=0),
        keep_best=True,
        out="runs/imports_transformer",
    )
