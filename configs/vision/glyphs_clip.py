"""Characters find their names in Unicode, and names their characters, by CLIP's loss.

Source:    our own: small towers, drawn from the seed; the loss of Radford et al. 2021, section 2.3.
Command:   python -m train.finetune configs/vision/glyphs_clip.py
           python -m train.evaluate --model runs/glyphs_clip --data 'generated:glyphs[test]'
Data:      generated:glyphs; the 256 characters that are held out are new, the words of their names
           are known.
Hardware:  two CPU cores, shared with other processes.
Time:      333 s of processor time from start to report, for 796 thousand parameters.
Result:    recall@1 of 256 characters of the test split 0.52 from name to picture and 0.50 from
           picture to name (recall@10 0.88 and 0.88); of the 256 of the validation split 0.43 and
           0.45. By chance it is 0.004. 2026-11-30, Python 3.11, one run.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.clip import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from transformers_jax.optim import Cosine, Muon
from transformers_jax.tasks import ImageTextPairs
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    sizes = dict(hidden_size=128, num_attention_heads=4)
    return TrainConfig(
        model=CLIPConfig(
            # so narrow that a name is little more than the sum of its words
            text_config=CLIPTextConfig(
                **sizes, num_hidden_layers=1, intermediate_size=32, max_position_embeddings=16
            ),
            vision_config=CLIPVisionConfig(
                **sizes, num_hidden_layers=3, intermediate_size=256, image_size=32, patch_size=8
            ),
            projection_dim=128,
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
        out="runs/glyphs_clip",
    )
