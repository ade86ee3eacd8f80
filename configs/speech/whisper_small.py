"""Whisper small (244M), fine-tuned on eight hours of Hindi.

The recordings are not part of this project: pass --data.train and --data.validation with tables of
"path" and "sentence", such as the TSV files of Common Voice 11 with the paths of its clips, which
are MP3 of 48 kHz (the extra `audio` reads and resamples them).

Source:    S. Gandhi, Fine-Tune Whisper For Multilingual ASR with Transformers
           (huggingface.co/blog/fine-tune-whisper, 2022): 4,000 steps of 16 rows, learning rate
           1e-5, 500 steps of warm-up, then a straight line to 0; half precision. Greedy texts of
           225 tokens at most.
Command:   python -m train.finetune configs/speech/whisper_small.py --data.train train.tsv \\
               --data.validation test.tsv
Data:      Common Voice 11, Hindi: about 8 h to train on, 4 h to test on.
Hardware:  a GPU of 16 GB in the source.
Time:      5 to 10 hours in the source.
Result:    expected: a word error rate of 32.0% (63.5% before fine-tuning), of texts as they are;
           not run here.
"""

from transformers_jax.data.config import Table
from transformers_jax.optim import AdamW, Linear
from transformers_jax.tasks import Transcription
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        init_from="openai/whisper-small",
        objective=Transcription(language="hindi", max_new_tokens=225),
        data=Table(
            train="train.tsv",
            validation="test.tsv",
            audio="path",
            label="sentence",
            resample=True,
            batch=16,
        ),
        optimizer=AdamW(
            peak=1e-5, schedule=Linear(warmup=500, final=0.0), weight_decay=0.0, b2=0.999
        ),
        steps=4000,
        compute_dtype="bfloat16",
        evaluation=Evaluation(every=1000, batches=1_000_000),
        keep_best=True,
        sample=Sample(count=0),
        save_every=1000,
        out="runs/whisper_small",
    )
