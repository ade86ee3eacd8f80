"""SigLIP ViT-B/16 (203M) on pairs of pictures and texts.

The pairs are not part of this project (WebLI is not published): pass --data.train with tar shards
whose records have a picture and a text ("jpg" and "txt"), and --data.tokenizer with a folder of
the released tokenizer of 32,000 pieces.

Source:    Zhai et al. 2023, section 4: batches of 32,768, texts of 64 tokens filled up to that
           length, pictures of 224 with levels from -1 to 1, scores that begin at 10 times the
           cosine minus 10, second beta 0.95, learning rate 1e-3, weight decay 1e-4, 20,000 steps
           of warm-up. The paper has Adafactor or Adam; this is AdamW.
Command:   python -m train.finetune configs/vision/siglip_b16.py --data.train 'shards/*.tar' \\
               --data.tokenizer TOKENIZER --mesh.data 64
Data:      English pairs of WebLI, 40 billion pictures seen; 1,220,703 steps are as many.
Hardware:  16 TPU v4 in the card of the released model.
Time:      three days there.
Result:    expected: 76.2% of ImageNet without training on it (SigLIP at 224, as table 1 of
           Tschannen et al. 2025 repeats it); not run here.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.siglip import SiglipConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import ImageTextPairs
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=SiglipConfig(),
        objective=ImageTextPairs(chunk=4096, no_duplicates=False),
        data=Table(
            train="shards/*.tar",
            validation_fraction=0.0001,
            tokenizer="tokenizer",
            batch=32_768,
        ),
        optimizer=AdamW(
            peak=1e-3, schedule=Cosine(warmup=20_000, final=0.0), b2=0.95, weight_decay=1e-4
        ),
        steps=1_220_703,
        accumulate=8,
        compute_dtype="bfloat16",
        evaluation=Evaluation(every=5000, batches=1),
        sample=Sample(count=0),
        save_every=5000,
        out="runs/siglip_b16",
    )
