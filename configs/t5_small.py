"""T5-small (60M) with span corruption, as the paper's baseline.

The text is not part of this project: pass --data.path with a folder that `transformers-jax tokenize
--eos` has made (the paper: C4) with T5's SentencePiece model. It brings its tokenizer along.

Source:    Raffel et al. 2019, sections 3.1.2 to 3.1.4: 128 packed rows of 512, 2^19 steps,
           Adafactor with a learning rate of 0.01 for 10,000 steps and then falling with the inverse
           root, 15 % left out in spans of 3 on average.
Command:   python -m train.pretrain configs/t5_small.py --data.path TOKENS --mesh.data 8
Hardware:  slices of TPU pods in the paper.
Time:      not given for this size.
Result:    expected: GLUE 77.4 and SuperGLUE 63.3 after 2^20 steps and fine-tuning (table 14), from
           the paper; not run here.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.t5 import T5Config
from transformers_jax.objectives import SpanCorruption
from transformers_jax.optim import Adafactor, InverseRoot
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=T5Config(),
        objective=SpanCorruption(rate=0.15, mean_span=3.0),
        data=Data(path="tokens", tokenizer="none", length=512, batch=128, rows="packed"),
        optimizer=Adafactor(peak=0.01, schedule=InverseRoot(warmup=10_000)),
        steps=2**19,
        compute_dtype="bfloat16",
        evaluation=Evaluation(every=5000, batches=40),
        sample=Sample(count=0),
        save_every=5000,
        out="runs/t5_small",
    )
