"""Letters in Morse code, in noise, token by token.

Source:    our own: a Whisper of three layers and one, drawn from the seed, that reads log-mel
           features of two seconds at 4 kHz.
Command:   python -m train.finetune configs/speech/morse_whisper.py
           python -m train.evaluate --model runs/morse_whisper --data 'generated:morse[test]'
Hardware:  two CPU cores, shared with other processes.
Time:      517 s from start to report, 438 s of it on the processor, for 176 thousand parameters.
Result:    100% of 400 held-out texts of two or three letters at 10 dB without a mistake, and 100%
           of those of the test split; 2026-11-30, Python 3.11.
Choices:   with AdamW at 2.5e-3 in batches of 16 the loss is 1.2 after 5,676 steps, and 4% of the
           texts are right. With Muon it is 0.2 after 1,000.
"""

from transformers_jax.data.config import Table
from transformers_jax.models.whisper import WhisperConfig
from transformers_jax.optim import WSD, Muon
from transformers_jax.tasks import Transcription
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=WhisperConfig(
            d_model=64,
            encoder_layers=3,
            encoder_attention_heads=4,
            encoder_ffn_dim=128,
            decoder_layers=1,
            decoder_attention_heads=4,
            decoder_ffn_dim=128,
            num_mel_bins=20,
            max_source_positions=100,
            max_target_positions=16,
            init_std=0.1,  # of so narrow a model; with Whisper's 0.02 nothing was learned
        ),
        objective=Transcription(max_new_tokens=8),
        data=Table(train="generated:morse", tokenizer="character", batch=32),
        optimizer=Muon(
            peak=3e-3, schedule=WSD(warmup=0.05, decay=0.4, final=0.0), weight_decay=0.05, b2=0.98
        ),
        epochs=14,
        evaluation=Evaluation(batches=8, per_epoch=1, final_batches=1000),
        sample=Sample(count=0),
        out="runs/morse_whisper",
    )
