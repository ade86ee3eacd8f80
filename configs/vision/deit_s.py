"""DeiT-S (22M) on ImageNet-1k for 300 epochs, without distillation.

ImageNet is not part of this project: pass --data.train and --data.validation with folders of
pictures whose folders are classes, tar shards or tfds:imagenet2012.

Source:    Touvron et al. 2020, "Training data-efficient image transformers", table 9: batches of
           1,024, AdamW, learning rate 1e-3, cosine decay, weight decay 0.05, 5 epochs of warm-up,
           smoothing 0.1, stochastic depth 0.1, RandAugment of strength 9, mixup 0.8, CutMix 1.0 in
           half of the batches, erasing 0.25.
Differs:   each picture is read once a pass (the paper repeats each three times), and RandAugment is
           torchvision's, whose strength has no noise.
Command:   python -m train.finetune configs/vision/deit_s.py --data.train FOLDER \\
               --data.validation FOLDER
Data:      ImageNet-1k (ILSVRC 2012): 1,281,167 pictures of 1,000 classes.
Hardware:  one computer of 8 V100 in the paper.
Time:      less than three days for the larger DeiT-B in the paper.
Result:    expected: 79.8% of the validation split in the paper (its table 7); not run here.
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
            peak=1e-3, schedule=Cosine(warmup=6_255, final=0.01), weight_decay=0.05, b2=0.999
        ),
        epochs=300,
        stochastic_depth=0.1,
        clip=None,
        compute_dtype="bfloat16",
        evaluation=Evaluation(batches=1000, per_epoch=1),
        sample=Sample(count=0),
        out="runs/deit_s",
    )
