"""DPO on a preference that can be counted: docstrings that begin with "Return ".

Source:   Rafailov et al. 2023; the records are made on the spot (data/generated/preferences.py).
Command:  python -m train.finetune configs/finetune/preference_start.py
          python -m train.finetune configs/finetune/preference.py
Measure:  eval_accuracy, and how often an answer begins with "Return " before and after:
          for model in preference-start preference; do
              transformers-jax predict runs/$model/model --task instruction \
                  --input "generated:preferences[validation]" --text prompt --out $model.jsonl
              grep -c '"Return ' $model.jsonl
          done
Result:   not run here as a whole.
"""

from transformers_jax.data.config import Table
from transformers_jax.optim import AdamW, Linear
from transformers_jax.tasks import DPO
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        init_from="runs/preference-start",
        objective=DPO(beta=0.1),
        data=Table(train="generated:preferences", batch=32),
        optimizer=AdamW(peak=3e-4, schedule=Linear(warmup=0.1)),
        epochs=1,
        evaluation=Evaluation(batches=1_000_000, per_epoch=1),
        sample=Sample(count=0),
        keep_best=True,
        out="runs/preference",
    )
