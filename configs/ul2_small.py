"""UL2's mixture of denoisers on a T5 v1.1 of small size (77M).

The text is not part of this project: pass --data.path with a folder that `transformers-jax tokenize
--eos` has made (the paper: C4) with a SentencePiece model that has the mode tokens [R], [S] and
[X]. It brings its tokenizer along.

Source:    Tay et al. 2022, section 3.1 and table 1 (seven denoisers), section 4 (128 rows of 512 in
           and 512 out, Adafactor with the inverse root, 500,000 steps, no dropout); the paper's
           smallest model is of base size, the shape here is T5 v1.1 small.
Command:   python -m train.pretrain configs/ul2_small.py --data.path TOKENS --mesh.data 8
Hardware:  64 to 128 TPU v4 chips in the paper, for larger models.
Time:      not given for this size.
Result:    no figure is published for this size; not run here.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.t5 import T5Config
from transformers_jax.objectives import UL2
from transformers_jax.optim import Adafactor, InverseRoot
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=T5Config(
            num_layers=8,
            num_heads=6,
            d_model=512,
            d_ff=1024,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            scale_decoder_outputs=False,
        ),
        objective=UL2(),
        data=Data(path="tokens", tokenizer="none", length=512, batch=128, rows="packed"),
        optimizer=Adafactor(peak=0.01, schedule=InverseRoot(warmup=10_000)),
        steps=500_000,
        compute_dtype="bfloat16",
        evaluation=Evaluation(every=5000, batches=40),
        sample=Sample(count=0),
        save_every=5000,
        out="runs/ul2_small",
    )
