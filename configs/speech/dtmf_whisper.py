"""Telephone keys in noise become the numbers that were dialled, token by token.

Source:    our own: a Whisper of two layers and one, drawn from the seed, that reads log-mel
           features of two seconds at 4 kHz.
Command:   python -m train.finetune configs/speech/dtmf_whisper.py
           python -m train.evaluate --model runs/dtmf_whisper --data 'generated:dtmf[test]'
Hardware:  two CPU cores, shared with other processes.
Time:      134 s from start to report, for 146 thousand parameters.
Result:    99.5% of 400 held-out numbers at 10 dB without a mistake, and 99.0% of those of the
           test split; 2026-11-30, Python 3.11.
Choices:   with Whisper's own deviation of initial weights, 0.02, a first form of it had learned
           nothing after 1,100 steps. With 0.1 the loss stays at that of a language model, 2.4, for
           200 steps, and is 0.5 after 310.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.whisper import WhisperConfig
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.tasks import Transcription
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=WhisperConfig(
            d_model=64,
            encoder_layers=2,
            encoder_attention_heads=4,
            encoder_ffn_dim=128,
            decoder_layers=1,
            decoder_attention_heads=4,
            decoder_ffn_dim=128,
            num_mel_bins=40,
            max_source_positions=100,
            max_target_positions=16,
            init_std=0.1,  # of so narrow a model; with Whisper's 0.02 nothing was learned
        ),
        objective=Transcription(max_new_tokens=8),
        data=Table(train="generated:dtmf", tokenizer="character", batch=32),
        optimizer=AdamW(
            peak=2e-3, schedule=Cosine(warmup=0.1, final=0.0), weight_decay=0.01, b2=0.98
        ),
        epochs=6,
        evaluation=Evaluation(batches=4, per_epoch=1, final_batches=1000),
        sample=Sample(count=0),
        out="runs/dtmf_whisper",
    )
