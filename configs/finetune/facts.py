"""Questions about facts of invented people, some without an answer in the text.

Source:    our own, in the format of SQuAD 2.0 (Rajpurkar et al. 2018); a RoFormer of three layers,
           drawn from the seed, whose tokenizer is learned from the table.
Command:   python -m train.finetune configs/finetune/facts.py
           python -m train.evaluate --model runs/facts --data 'generated:facts[test]'
Data:      generated:facts; names are common to all splits, and what is told of whom is of one.
Hardware:  two CPU cores, shared with other processes.
Time:      211 s of CPU time from start to report, for 126 thousand parameters.
Result:    exact match 100 of the 1,000 questions of the validation split, with and without an
           answer, and 100 of those of the test split; one seed; 2026-11-29, Python 3.11.7.

For comparison, exact match of the validation and of the test split: 44.8 and 43.7 for one of the
facts of the kind that is asked for, drawn; 88.8 and 89.7 for one of those about the person.

    python -c "from transformers_jax.data.generated import facts
    print(facts.baselines(facts.records('test')))"

For some 1,500 of the 3,000 steps the loss stays at what the kind alone gives; then the model begins
to compare the name in the question with those in the text.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.roformer import RoFormerConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import QuestionAnswering
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=RoFormerConfig(
            num_hidden_layers=3,
            num_attention_heads=2,
            hidden_size=64,
            embedding_size=64,
            intermediate_size=128,
            max_position_embeddings=96,
            initializer_range=0.125,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        objective=QuestionAnswering(),
        data=Table(train="generated:facts", tokenizer="wordpiece", vocab_size=512, batch=64),
        optimizer=AdamW(
            peak=2.5e-3, schedule=Cosine(warmup=0.04, final=0.02), weight_decay=0.01, b2=0.98
        ),
        epochs=8,
        evaluation=Evaluation(batches=1_000_000, per_epoch=1),
        sample=Sample(count=0),
        keep_best=True,
        out="runs/facts",
    )
