"""MLP-Mixer-B/16 (59M) on ImageNet-1k for 300 epochs.

ImageNet is not part of this project: pass --data.train and --data.validation with folders of
pictures whose folders are classes, tar shards or tfds:imagenet2012.

Source:    Tolstikhin et al. 2021, "MLP-Mixer", section 3 and appendix B: 300 epochs in batches of
           4,096, learning rate 1e-3, 10,000 steps of warm-up, linear decay, weight decay 0.1,
           gradients clipped at 1, RandAugment of 2 operations of strength 15, mixup 0.5,
           stochastic depth 0.1.
Differs:   all blocks are there in each step: without stochastic depth.
Command:   python -m train.finetune configs/vision/mixer_b16.py --data.train FOLDER \\
               --data.validation FOLDER
Data:      ImageNet-1k (ILSVRC 2012): 1,281,167 pictures of 1,000 classes.
Hardware:  TPUs; how many is not given for this run.
Time:      not given for this run.
Result:    expected: 76.44% of the validation split in the paper (its table 3); not run here.
"""

from transformers_jax.data.augment.settings import Augment
from transformers_jax.data.config import Table
from transformers_jax.models.timm_mixer import TimmMixerConfig
from transformers_jax.optim import AdamW, Linear
from transformers_jax.tasks import ImageClassification
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=TimmMixerConfig(
            architecture_name="mixer_b16_224", num_classes=1000, num_features=768
        ),
        objective=ImageClassification(
            augment=Augment(crop=(0.05, 1.0), flip=0.5, layers=2, magnitude=15, mixup=0.5),
            smoothing=0.0,
        ),
        data=Table(
            train="imagenet/train",
            validation="imagenet/val",
            image_size=224,
            image_mean=(0.485, 0.456, 0.406),
            image_std=(0.229, 0.224, 0.225),
            batch=4096,
        ),
        optimizer=AdamW(
            peak=1e-3, schedule=Linear(warmup=10_000, final=0.0), weight_decay=0.1, b2=0.999
        ),
        epochs=300,
        clip=1.0,
        compute_dtype="bfloat16",
        evaluation=Evaluation(batches=1000, per_epoch=1),
        sample=Sample(count=0),
        out="runs/mixer_b16",
    )
