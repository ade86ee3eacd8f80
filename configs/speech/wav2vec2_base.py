"""Wav2Vec2 base (95M) on recordings without texts.

The recordings are not part of this project: pass --data.train with a table whose column "audio"
has the paths of LibriSpeech's files, cut to 250,000 samples (15.6 s) at most, as the paper does.

Source:    Baevski et al. 2020, wav2vec 2.0, sections 4.2 and 5.1: 400,000 updates of 1.6 h of
           audio, peak learning rate 5e-4, the first 8% of the updates warm it up, then a straight
           line to 0; spans of 10 frames that begin at 6.5% of all, 100 distractors, diversity
           weighted by 0.1; Adam with 0.9, 0.98 and 1e-6, weight decay 0.01 (fairseq,
           config/pretraining/wav2vec2_base_librispeech.yaml). The paper cools the quantiser from 2
           to 0.5, and adds a penalty of the frames' squares; here the temperature is 2.
Command:   python -m train.finetune configs/speech/wav2vec2_base.py --data.train librispeech.jsonl \
               --mesh.data 64
Data:      LibriSpeech, 960 h, cut.
Hardware:  64 V100 in the paper.
Time:      1.6 days in the paper.
Result:    expected: fine-tuned on 100 h (wav2vec2_base_100h.py), word error rates of 6.1% and 13.3%
           on test-clean and test-other, without a language model (table 9); not run here.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.wav2vec2 import Wav2Vec2Config
from transformers_jax.optim import AdamW, Linear
from transformers_jax.tasks import SpeechPretraining
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=Wav2Vec2Config(
            layerdrop=0.05,
            feat_proj_dropout=0.1,
            hidden_dropout=0.1,
            attention_dropout=0.1,
            activation_dropout=0.0,
            num_negatives=100,
            diversity_loss_weight=0.1,
        ),
        objective=SpeechPretraining(mask_prob=0.65, mask_length=10, temperature=2.0, grace=32_000),
        data=Table(train="librispeech.jsonl", validation_fraction=0.002, batch=384),
        optimizer=AdamW(
            peak=5e-4,
            schedule=Linear(warmup=32_000, final=0.0),
            b1=0.9,
            b2=0.98,
            eps=1e-6,
            weight_decay=0.01,
        ),
        steps=400_000,
        compute_dtype="bfloat16",
        evaluation=Evaluation(every=5000, batches=4),
        sample=Sample(count=0),
        save_every=5000,
        out="runs/wav2vec2_base",
    )
