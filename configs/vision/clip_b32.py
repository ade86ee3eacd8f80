"""CLIP ViT-B/32 (151M) on pairs of pictures and texts.

The pairs are not part of this project (the paper's 400 million are not published): pass
--data.train with tar shards whose records have a picture and a text ("jpg" and "txt"), and
--data.tokenizer with a folder of the released tokenizer, whose ids the sizes are for.

Source:    Radford et al. 2021, section 2.5 and tables 18 and 20: 32 epochs in batches of 32,768,
           learning rate 5e-4, 2,000 steps of warm-up, cosine decay, betas 0.9 and 0.98, epsilon
           1e-6, weight decay 0.2, texts of 76 tokens and one that ends them. The paper clips the
           scale of the cosines at 100, which is not done here.
Command:   python -m train.finetune configs/vision/clip_b32.py --data.train 'shards/*.tar' \\
               --data.tokenizer TOKENIZER --mesh.data 64
Data:      400 million pairs (WIT) in the paper.
Hardware:  not given for this size; ViT-L/14 took 256 V100.
Time:      not given for this size; ViT-L/14 took 12 days.
Result:    expected: 63.2% of ImageNet without training on it (table 11), with the names of classes
           in an ensemble of 80 templates; not run here.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.clip import CLIPConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import ImageTextPairs
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=CLIPConfig(),
        objective=ImageTextPairs(chunk=4096, no_duplicates=False),
        data=Table(
            train="shards/*.tar",
            validation_fraction=0.0001,
            tokenizer="tokenizer",
            length=77,
            batch=32_768,
            image_mean=(0.48145466, 0.4578275, 0.40821073),
            image_std=(0.26862954, 0.26130258, 0.27577711),
        ),
        optimizer=AdamW(
            peak=5e-4,
            schedule=Cosine(warmup=2000, final=0.0),
            b1=0.9,
            b2=0.98,
            eps=1e-6,
            weight_decay=0.2,
        ),
        epochs=32,
        accumulate=8,
        compute_dtype="bfloat16",
        evaluation=Evaluation(every=2000, batches=1),
        sample=Sample(count=0),
        save_every=2000,
        out="runs/clip_b32",
    )
