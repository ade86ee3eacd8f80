"""Characters find their names in Unicode, and names their characters, by SigLIP's loss.

Source:    our own: small towers, drawn from the seed; the loss of Zhai et al. 2023, section 3.2.
Command:   python -m train.finetune configs/vision/glyphs_siglip.py
           python -m train.evaluate --model runs/glyphs_siglip --data 'generated:glyphs[test]'
Data:      generated:glyphs; the 256 characters that are held out are new, the words of their names
           are known.
Hardware:  two CPU cores, shared with other processes.
Time:      349 s of processor time from start to report, for 913 thousand parameters.
Result:    recall@1 of 256 characters of the test split 0.67 from name to picture and 0.60 from
           picture to name (recall@10 0.90 and 0.91); of the 256 of the validation split 0.58 and
           0.59. By chance it is 0.004. 2026-11-30, Python 3.11, one run.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.siglip import SiglipConfig, SiglipTextConfig, SiglipVisionConfig
from transformers_jax.optim import Cosine, Muon
from transformers_jax.tasks import ImageTextPairs
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    sizes = dict(hidden_size=128, num_attention_heads=4)
    return TrainConfig(
        model=SiglipConfig(
            # so narrow that a name is little more than the sum of its words
            text_config=SiglipTextConfig(
                **sizes, num_hidden_layers=1, intermediate_size=32, max_position_embeddings=16
            ),
            vision_config=SiglipVisionConfig(
                **sizes, num_hidden_layers=3, intermediate_size=256, image_size=32, patch_size=8
            ),
        ),
        objective=ImageTextPairs(),
        data=Table(train="generated:glyphs", tokenizer="bpe", vocab_size=2048, batch=128),
        optimizer=Muon(
            peak=3e-3, schedule=Cosine(warmup=0.1, final=0.0), weight_decay=0.1, b2=0.98
        ),
        epochs=7,
        evaluation=Evaluation(batches=100, per_epoch=1),
        sample=Sample(count=0),
        keep_best=True,
        out="runs/glyphs_siglip",
    )
