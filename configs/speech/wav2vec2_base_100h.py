"""Wav2Vec2 base, fine-tuned on 100 hours of LibriSpeech by connectionist temporal classification.

The recordings are not part of this project: pass --data.train with a table of "audio" (paths of
files) and "text". Symbols are the characters of the texts.

Source:    Baevski et al. 2020, wav2vec 2.0, section 4.3 and table 9, with the settings of fairseq's
           config/finetuning/base_100h.yaml: 80,000 updates of 1,600 s of audio, a peak learning
           rate of 3e-5 that is reached after a tenth of them, kept for four tenths and then falls;
           spans of frames and of channels are hidden (0.65 in spans of 10, 0.5 in spans of 64). The
           paper keeps the convolutions of the stem as they are; here they are trained as well, and
           the rate falls as 1 - sqrt and not exponentially.
Command:   python -m train.finetune configs/speech/wav2vec2_base_100h.py \
               --data.train train-clean-100.jsonl --data.validation dev-other.jsonl
Data:      LibriSpeech, train-clean-100.
Hardware:  8 V100 in the source.
Time:      not given.
Result:    expected: word error rates of 6.1% and 13.3% on test-clean and test-other, without a
           language model (table 9); of all 960 h of texts 3.4% and 8.5% (table 10); not run here.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.wav2vec2 import Wav2Vec2Config
from transformers_jax.optim import WSD, AdamW
from transformers_jax.tasks import CTC
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        init_from="facebook/wav2vec2-base",
        model=Wav2Vec2Config(
            layerdrop=0.1,
            activation_dropout=0.1,
            mask_time_prob=0.65,
            mask_feature_prob=0.5,
            mask_feature_length=64,
            ctc_loss_reduction="mean",
            ctc_zero_infinity=True,
        ),
        objective=CTC(),
        data=Table(
            train="train-clean-100.jsonl",
            validation="dev-other.jsonl",
            tokenizer="facebook/wav2vec2-base-960h",
            batch=128,
        ),
        optimizer=AdamW(
            peak=3e-5, schedule=WSD(warmup=0.1, decay=0.5, final=0.05), b2=0.98, weight_decay=0.0
        ),
        steps=80_000,
        compute_dtype="bfloat16",
        evaluation=Evaluation(every=2000, batches=1_000_000),
        keep_best=True,
        sample=Sample(count=0),
        save_every=2000,
        out="runs/wav2vec2_base_100h",
    )
