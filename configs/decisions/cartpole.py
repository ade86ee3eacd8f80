"""A Decision Transformer learns to balance a pole from episodes that mostly let it fall.

Source:    Chen et al. 2021; the sizes are our own, drawn from the seed.
Command:   python -m train.finetune configs/decisions/cartpole.py
           python -m train.evaluate --model runs/cartpole --data 'generated:cartpole[test]' \\
               --target-return 500
Data:      generated:cartpole: 600 episodes by five policies of mixed quality, which return 221 in
           the mean and 450 or more in 30 % of them; 60 held out, 60 to test.
Hardware:  two CPU cores, shared with other processes.
Time:      224 s of processor time from start to report, for 187 thousand parameters.
Result:    what 60 new episodes returned, in the mean:

               asked       50     100     200     500     what the test episodes returned (188)
               obtained    69     191     397     500     238, 52 away from it in the mean

           All 60 episodes that were asked for 500 had 500; 2026-11-30, Python 3.11.
Choices:   without policies that let the pole lean by an angle of their own, so that the states tell
           when an episode ends, whatever was asked from 150 on was 500.

It follows what is asked, and overshoots: little in the data shows how to fall at a certain time.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.decision_transformer import DecisionTransformerConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import OfflineRL
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=DecisionTransformerConfig(
            state_dim=4,
            act_dim=2,
            hidden_size=64,
            max_ep_len=500,
            action_tanh=False,
            n_positions=60,
            n_layer=3,
            n_head=2,
        ),
        objective=OfflineRL(environment="cartpole", context=20),
        data=Table(train="generated:cartpole", batch=64),
        optimizer=AdamW(
            peak=1e-3, schedule=Cosine(warmup=0.1, final=0.0), weight_decay=1e-4, b2=0.98
        ),
        steps=1000,
        evaluation=Evaluation(batches=10, every=500),
        sample=Sample(count=0),
        out="runs/cartpole",
    )
