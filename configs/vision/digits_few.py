"""A ViT that was pretrained without labels (digits_mae.py) learns digits from ten of each class.

Source:    our own: the encoder of configs/vision/digits_mae.py, fine-tuned (He et al. 2022,
           section 3).
Command:   python -m train.finetune configs/vision/digits_mae.py
           python -m train.finetune configs/vision/digits_few.py
           python -m train.evaluate --model runs/digits_few --data 'generated:digits[test]'
Data:      generated:digits_few: 100 of the digits of scikit-learn (extra `eval`) with their labels.
Hardware:  two CPU cores, shared with other processes.
Time:      28 s of processor time a seed, after 282 s of pretraining; the probe 10 s.
Result:    accuracy, mean and standard deviation of three seeds (--seeds 3), of the 186 digits of
           the validation split, which chose nothing, and of the 174 of the test split:

                                                        validation        test
               pretrained without labels                0.944 (0.003)     0.973 (0.009)
               random weights (--from-scratch)          0.853 (0.025)     0.881 (0.019)
               pretrained and frozen (--adapter probe)  0.962             0.954
               the same of all labels                   0.968             0.971
               SVC(C=10) on levels from 0 to 1          0.952             0.948
               LogisticRegression of pixels             0.914             0.902

           2026-11-30, Python 3.11. The probe of all labels is

    python -m train.finetune configs/vision/digits_few.py --adapter probe \\
        --data.train generated:digits --out runs/digits_probe
"""

from transformers_jax.data.augment.settings import Augment
from transformers_jax.data.config import Table
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import ImageClassification
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        init_from="runs/digits_mae",
        objective=ImageClassification(augment=Augment(crop=(0.7, 1.0)), smoothing=0.1),
        data=Table(train="generated:digits_few", batch=50),
        optimizer=AdamW(
            peak=5e-4, schedule=Cosine(warmup=0.1, final=0.0), weight_decay=0.05, b2=0.99
        ),
        epochs=150,
        evaluation=Evaluation(batches=10, every=100),
        sample=Sample(count=0),
        out="runs/digits_few",
    )
