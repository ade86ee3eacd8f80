"""A ViT and a GPT-2 write the Unicode name of a character that they see for the first time.

Source:    our own: a ViT of three layers on patches of 8 x 8 and a GPT-2 of two layers, drawn from
           the seed.
Command:   python -m train.finetune configs/vision/glyphs_caption.py
           python -m train.evaluate --model runs/glyphs_caption --data 'generated:glyphs[test]'
Data:      generated:glyphs (Pillow and matplotlib: extras `vision`, `viz`): characters in eight
           faces to train on; 256 others, of names whose words are known, held out, 256 to test.
Hardware:  two CPU cores, shared with other processes.
Time:      241 s of processor time from start to report, for 645 thousand parameters.
Result:    names of characters that no one has seen before:

                                          validation           test
                                          chrF    exact        chrF    exact
               of its picture             46.8    0.008        47.3    0.004
               of the next picture        23.4    0.000        22.5    0.000
               LATIN SMALL LETTER A
               WITH GRAVE, for all        29.2    0.000        28.2    0.000
               name of the most alike
               picture of the training    55.9    0.000        53.4    0.000

           2026-11-30, Python 3.11.

What it writes is about the picture that it sees: with the pictures shifted by one it falls below a
name that is the same for all. It mostly writes the name of a character that looks alike, and seldom
a name that is new; as a guesser of names it is behind the nearest picture (cosine of levels).
"""

from transformers_jax.data.config import Table
from transformers_jax.models.gpt2 import GPT2Config
from transformers_jax.models.vision_encoder_decoder import VisionEncoderDecoderConfig
from transformers_jax.models.vit import ViTConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import Captioning
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    encoder = ViTConfig(
        image_size=32,
        patch_size=8,
        num_channels=1,
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=192,
    )
    decoder = GPT2Config(
        n_positions=64,
        n_embd=96,
        n_layer=2,
        n_head=4,
        add_cross_attention=True,
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
    )
    return TrainConfig(
        model=VisionEncoderDecoderConfig(encoder=encoder, decoder=decoder),
        objective=Captioning(best="chrf"),
        data=Table(train="generated:glyphs", tokenizer="bpe", vocab_size=1024, batch=64),
        optimizer=AdamW(
            peak=2e-3, schedule=Cosine(warmup=0.1, final=0.0), weight_decay=0.05, b2=0.98
        ),
        epochs=4,
        evaluation=Evaluation(batches=4, every=500, final_batches=1000),
        sample=Sample(count=0),
        out="runs/glyphs_caption",
    )
