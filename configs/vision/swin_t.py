"""Swin-T (28M) on ImageNet-1k for 300 epochs.

ImageNet is not part of this project: pass --data.train and --data.validation with folders of
pictures whose folders are classes, tar shards or tfds:imagenet2012.

Source:    Liu et al. 2021, "Swin Transformer", section 4.1 and appendix A2.1: batches of 1,024,
           AdamW, learning rate 1e-3, 20 epochs of warm-up, cosine decay, weight decay 0.05,
           stochastic depth 0.2, RandAugment of strength 9, mixup 0.8, CutMix 1.0, erasing 0.25,
           smoothing 0.1. Gradients are clipped at 5, as in the code that was released with it.
Differs:   RandAugment is torchvision's, whose strength has no noise.
Command:   python -m train.finetune configs/vision/swin_t.py --data.train FOLDER \\
               --data.validation FOLDER
Data:      ImageNet-1k (ILSVRC 2012): 1,281,167 pictures of 1,000 classes.
Hardware:  not given in the paper.
Time:      not given in the paper.
Result:    expected: 81.3% of the validation split in the paper (its table 1); not run here.
"""

from transformers_jax.data.augment.settings import Augment
from transformers_jax.data.config import Table
from transformers_jax.models.swin import SwinConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import ImageClassification
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=SwinConfig(drop_path_rate=0.2),
        objective=ImageClassification(
            augment=Augment(
                crop=(0.08, 1.0), flip=0.5, layers=2, magnitude=9, erase=0.25, mixup=0.8, cutmix=1.0
            ),
            smoothing=0.1,
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
            peak=1e-3, schedule=Cosine(warmup=25_020, final=0.005), weight_decay=0.05, b2=0.999
        ),
        epochs=300,
        clip=5.0,
        compute_dtype="bfloat16",
        evaluation=Evaluation(batches=1000, per_epoch=1),
        sample=Sample(count=0),
        out="runs/swin_t",
    )
