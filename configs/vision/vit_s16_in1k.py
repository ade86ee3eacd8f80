"""ViT-S/16 (22M) on ImageNet-1k for 90 epochs.

ImageNet is not part of this project: pass --data.train and --data.validation with folders of
pictures whose folders are classes, tar shards or tfds:imagenet2012.

Source:    Beyer, Zhai, Kolesnikov 2022, "Better plain ViT baselines for ImageNet-1k": crops of 5 to
           100 % of the area, mirror images, RandAugment of 2 operations of strength 10, mixup of
           0.2; batches of 1,024, learning rate 1e-3, 10,000 steps of warm-up, cosine decay to 0,
           weight decay 1e-4, gradients clipped at 1.
Differs:   positions are learned, and classes are read from a class token; the paper has fixed
           sines of two dimensions and the mean of the patches. Weight decay here is a fraction of
           the learning rate: 0.1 x 1e-3 is its 1e-4.
Command:   python -m train.finetune configs/vision/vit_s16_in1k.py --data.train FOLDER \\
               --data.validation FOLDER
Data:      ImageNet-1k (ILSVRC 2012): 1,281,167 pictures of 1,000 classes.
Hardware:  one TPUv3-8 node in the paper.
Time:      6 hours and a half in the paper.
Result:    expected: 76.5% of the validation split in the paper (its table 1); not run here.
"""

from transformers_jax.data.augment.settings import Augment
from transformers_jax.data.config import Table
from transformers_jax.models.vit import ViTConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import ImageClassification
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=ViTConfig(
            hidden_size=384,
            num_hidden_layers=12,
            num_attention_heads=6,
            intermediate_size=1536,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        objective=ImageClassification(
            augment=Augment(crop=(0.05, 1.0), flip=0.5, layers=2, magnitude=10, mixup=0.2),
            smoothing=0.0,
        ),
        data=Table(
            train="imagenet/train",
            validation="imagenet/val",
            image_size=224,
            image_mean=(0.485, 0.456, 0.406),
            image_std=(0.229, 0.224, 0.225),
            batch=1024,
        ),
        optimizer=AdamW(
            peak=1e-3, schedule=Cosine(warmup=10_000, final=0.0), weight_decay=0.1, b2=0.999
        ),
        epochs=90,
        clip=1.0,
        compute_dtype="bfloat16",
        evaluation=Evaluation(batches=1000, per_epoch=1),
        sample=Sample(count=0),
        out="runs/vit_s16_in1k",
    )
