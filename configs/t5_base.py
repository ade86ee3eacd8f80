"""T5 v1.1 base (250M) on spans of C4.

The text is not part of this project: pass --data.path with a folder that `transformers-jax tokenize
--eos` has made (the source: C4) with T5's SentencePiece model. It brings its tokenizer along.

Source:    the released v1.1 checkpoints (notes of the text-to-text-transfer-transformer code):
           gated GELU, no dropout in pretraining, embeddings and logits untied, C4 only; batch,
           schedule and optimizer of Raffel et al. 2019, section 3.7: 2048 rows of 512, 1,000,000
           steps, Adafactor with the inverse root.
Command:   python -m train.pretrain configs/t5_base.py --data.path TOKENS --mesh.data 8 \\
               --mesh.fsdp 4
Hardware:  slices of TPU pods in the source.
Time:      not given.
Result:    no figure before fine-tuning is published; not run here.
"""

from transformers_jax.data.config import Data
from transformers_jax.models.t5 import T5Config
from transformers_jax.objectives import SpanCorruption
from transformers_jax.optim import Adafactor, InverseRoot
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=T5Config(
            num_layers=12,
            num_heads=12,
            d_model=768,
            d_ff=2048,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            scale_decoder_outputs=False,
        ),
        objective=SpanCorruption(rate=0.15, mean_span=3.0),
        data=Data(path="tokens", tokenizer="none", length=512, batch=2048, rows="packed"),
        optimizer=Adafactor(peak=0.01, schedule=InverseRoot(warmup=10_000)),
        steps=1_000_000,
        compute_dtype="bfloat16",
        evaluation=Evaluation(every=5000, batches=40),
        sample=Sample(count=0),
        save_every=5000,
        out="runs/t5_base",
    )
