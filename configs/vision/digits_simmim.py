"""A ViT sees 6 of the 16 patches of a digit and makes the others, by SimMIM; no label is read.

Source:    our own: a ViT of four layers on patches of 2 x 2, drawn from the seed,
           which reads a learned vector in place of a hidden patch (Xie et al. 2022, section 3).
Command:   python -m train.finetune configs/vision/digits_simmim.py
           python -m train.finetune configs/vision/digits_few.py \\
               --init-from runs/digits_simmim --seeds 3 --out runs/digits_simmim_few
           python -m train.finetune configs/vision/digits_few.py --from-scratch \\
               --init-from runs/digits_simmim --seeds 3 --out runs/digits_simmim_scratch
           python -m train.evaluate --model runs/digits_simmim_few/seed=0 \\
               --data 'generated:digits[test]'
Data:      generated:digits, the digits of scikit-learn (extra `eval`): 1,797 of 13 people; of ten
           of each class (generated:digits_few) the labels are read afterwards.
Hardware:  two CPU cores, shared with other processes.
Time:      162 s of processor time from start to report, for 136 thousand parameters.
Result:    absolute error of hidden pixels (levels from -1 to 1) 0.231 of the validation split,
           0.282 after 500 of the 1,460 steps; the median of each pixel of the digits that are
           trained on has 0.362 of all pixels. Accuracy with ten labels of each class, mean and
           standard deviation of three seeds:

                                               validation        test
               pretrained without labels       0.923 (0.016)     0.944 (0.003)
               random weights (--from-scratch) 0.853 (0.025)     0.881 (0.019)

           It helps, and less than digits_mae.py (0.944 and 0.973), which takes 282 s. A run of 150
           epochs, 190 s, had 0.224, and then 0.898 (0.014) and 0.937 (0.010): a lower error of
           pixels says little about classes. 2026-11-30, Python 3.11.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.vit import ViTConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import ImagePretraining
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=ViTConfig(
            image_size=8,
            patch_size=2,
            num_channels=1,
            hidden_size=64,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=128,
            encoder_stride=2,
        ),
        objective=ImagePretraining(masked=0.6, unit=2),
        data=Table(train="generated:digits", batch=128),
        optimizer=AdamW(
            peak=2e-3, schedule=Cosine(warmup=0.1, final=0.0), weight_decay=0.05, b2=0.95
        ),
        epochs=130,
        evaluation=Evaluation(batches=10, every=500),
        sample=Sample(count=0),
        out="runs/digits_simmim",
    )
