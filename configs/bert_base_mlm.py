"""BERT-base (110M) with masked words only, in packed rows of 128: the modern recipe.

The text is not part of this project: pass --data.path with a folder that `transformers-jax
tokenize` has made (the source: C4) with a vocab.txt. It brings its tokenizer along.

Source:    Portes et al. 2023 (MosaicBERT), section 3: 30 % masked, 4096 rows of 128, 70,000 steps,
           learning rate 5e-4 with 6 % of warm-up and a linear decay to 2 % of it, betas 0.9 and
           0.98, weight decay 1e-5; no next sentences (Liu et al. 2019, section 4.2). Its changes to
           the architecture (ALiBi, gated units) are not part of this config. The vocabulary is a
           multiple of 64, which is faster.
Command:   python -m train.pretrain configs/bert_base_mlm.py --data.path TOKENS --mesh.data 8
Hardware:  8 A100-80GB in the source.
Time:      11.5 hours for the plain BERT-base, from the source.
Result:    expected: GLUE 83.2 after fine-tuning, from the source; not run here.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.bert import BertConfig
from transformers_jax.objectives import MaskedLM
from transformers_jax.optim import AdamW, Linear
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=BertConfig(vocab_size=30528),
        objective=MaskedLM(rate=0.3),
        data=Data(path="tokens", tokenizer="none", length=128, batch=4096, rows="packed"),
        optimizer=AdamW(
            peak=5e-4,
            schedule=Linear(warmup=4200, final=0.02),
            b1=0.9,
            b2=0.98,
            eps=1e-6,
            weight_decay=1e-5,
        ),
        steps=70_000,
        compute_dtype="bfloat16",
        evaluation=Evaluation(every=2000, batches=40),
        sample=Sample(count=0),
        save_every=2000,
        out="runs/bert_base_mlm",
    )
