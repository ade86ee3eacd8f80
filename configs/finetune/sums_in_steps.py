r"""Sums of numbers of six digits, whose columns are written first: a scratchpad (Nye et al. 2021).

Source:    our own: a GPT-2 of two layers, drawn from the seed, that reads and writes characters.
Command:   python -m train.finetune configs/finetune/sums_in_steps.py
           python -m train.evaluate --model runs/sums_in_steps \
               --data 'generated:sums_in_steps[test]'
Hardware:  two CPU cores, shared with other processes.
Time:      7 minutes from start to report, for 107 thousand parameters.
Result:    all of 200 held-out sums without a mistake, their columns included, and all of 200 of the
           test split; 2026-12-01, Python 3.11.7. Stopped at step 998, and continued from there.

    418305+279946=  5+6+0=11 0+4+1=05 3+9+0=12 8+9+1=18 1+7+1=09 4+2+0=06 is 0698251

The control is configs/finetune/sums.py: the same model and as many steps, without the columns.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.gpt2 import GPT2Config
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import Instruction
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=GPT2Config(
            n_positions=96,
            n_embd=64,
            n_layer=2,
            n_head=4,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        ),
        objective=Instruction(written=200, max_new_tokens=72),
        data=Table(train="generated:sums_in_steps", tokenizer="character", batch=64),
        optimizer=AdamW(
            peak=3e-3, schedule=Cosine(warmup=0.1, final=0.0), weight_decay=0.01, b2=0.98
        ),
        epochs=4,
        evaluation=Evaluation(batches=4, per_epoch=1),
        sample=Sample(count=0),
        out="runs/sums_in_steps",
    )
