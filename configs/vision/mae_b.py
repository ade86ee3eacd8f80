"""MAE: a ViT-B/16 (86M) is pretrained on ImageNet-1k without labels for 1,600 epochs.

ImageNet is not part of this project: pass --data.train and --data.validation with folders of
pictures, tar shards or tfds:imagenet2012.

Source:    He et al. 2022, "Masked autoencoders are scalable vision learners", appendix A.1: AdamW,
           batches of 4,096, learning rate 1.5e-4 for each 256 rows, b2 0.95, weight decay 0.05,
           cosine decay, 40 epochs of warm-up, crops and flips; pixels are normalised in each patch.
Command:   python -m train.finetune configs/vision/mae_b.py --data.train FOLDER \\
               --data.validation FOLDER
Data:      ImageNet-1k (ILSVRC 2012): 1,281,167 pictures, without their labels.
Hardware:  128 TPU v3 cores in the paper.
Time:      not stated for ViT-B in the paper.
Result:    expected: 83.6% of the validation split after fine-tuning (its table 3); not run here.
"""

from transformers_jax.data.augment.settings import Augment
from transformers_jax.data.config import Table
from transformers_jax.models.vit_mae import ViTMAEConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import ImagePretraining
from transformers_jax.training.config import Evaluation, Sample, TrainConfig

EPOCHS, WARM = 1600, 40


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=ViTMAEConfig(norm_pix_loss=True),
        objective=ImagePretraining(augment=Augment(crop=(0.2, 1.0), flip=0.5)),
        data=Table(batch=4096),
        optimizer=AdamW(
            peak=2.4e-3,
            schedule=Cosine(warmup=WARM / EPOCHS, final=0.0),
            weight_decay=0.05,
            b2=0.95,
        ),
        clip=None,
        epochs=EPOCHS,
        evaluation=Evaluation(batches=10, per_epoch=1),
        sample=Sample(count=0),
        compute_dtype="bfloat16",
        out="runs/mae_b",
    )
