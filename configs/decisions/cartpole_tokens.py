"""The same episodes as a text: a GPT-2 writes returns, states, actions and rewards, bin by bin.

Source:    Janner et al. 2021 (Trajectory Transformer), sections 3.1 and 3.2; a return to go stands
           in front of each state, and no beams are searched. Sizes are our own.
Command:   python -m train.finetune configs/decisions/cartpole_tokens.py
           python -m train.evaluate --model runs/cartpole_tokens \\
               --data 'generated:cartpole[test]' --target-return 500
Data:      generated:cartpole, as in cartpole.py: every number is one of 48 bins.
Hardware:  two CPU cores, shared with other processes.
Time:      209 s of processor time from start to report, for 370 thousand parameters.
Result:    0.761 nats per token of 60 held-out episodes, returns, states and rewards included. 60
           new episodes that were asked for 500 returned 495.5 in the mean (the data 221). But it
           does not follow what is asked: asked for what held-out episodes returned (211), it
           obtained 497; 2026-11-30, Python 3.11.

One token of seven is an action: the Decision Transformer, whose loss is of actions alone, follows
what is asked (cartpole.py).
"""

from transformers_jax.data.config import Table
from transformers_jax.models.gpt2 import GPT2Config
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import TrajectoryTokens
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=GPT2Config(n_positions=70, n_embd=96, n_layer=3, n_head=4),
        objective=TrajectoryTokens(context=10, bins=48),
        data=Table(train="generated:cartpole", batch=32),
        optimizer=AdamW(
            peak=1e-3, schedule=Cosine(warmup=0.1, final=0.0), weight_decay=0.01, b2=0.98
        ),
        steps=1000,
        evaluation=Evaluation(batches=10, every=500),
        sample=Sample(count=0),
        out="runs/cartpole_tokens",
    )
