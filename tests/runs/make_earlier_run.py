"""Makes tests/runs/earlier/RELEASE: a run of a release, stopped after two steps of three.

    pip install transformers-jax[train]==RELEASE
    python make_earlier_run.py tests/runs/earlier/RELEASE

Only what is read when a run is continued is kept, and `next.json`, the figures of the third step as
that release computed them.
"""

import contextlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

KEPT = ("config.json", "metrics.jsonl", "tokenizer.json", "tokenizer_config.json", "checkpoints")
TEXT = "".join(f"{n} and {n % 5} are {n + n % 5}.\n" for n in range(60))


def make_config(steps):
    """The run in the folder `run`, of the text in `text.txt`."""
    import transformers_jax as tj
    from transformers_jax.data.config import Data
    from transformers_jax.optim import AdamW, Cosine
    from transformers_jax.training.config import Evaluation, Sample, TrainConfig

    return TrainConfig(
        model=tj.GPT2Config(n_layer=1, n_head=2, n_embd=8, n_positions=8, vocab_size=32),
        data=Data(path="text.txt", tokenizer="character", length=8, batch=4),
        optimizer=AdamW(peak=3e-3, schedule=Cosine(warmup=1)),
        steps=steps,
        schedule_steps=3,
        evaluation=Evaluation(every=0),
        sample=Sample(count=0),
        out="run",
    )


def main(target):
    """Trains two steps, keeps the folder, and trains the third."""
    from transformers_jax.runs.fit import fit

    target = Path(target).absolute()
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("text.txt").write_text(TEXT)
        fit(make_config(2))
        for name in KEPT:
            copy = shutil.copytree if (source := Path("run", name)).is_dir() else shutil.copy
            copy(source, target / name)
        for note in target.rglob("commit_success.txt"):
            note.unlink()  # where the folder was
        fit(make_config(3))
        line = json.loads(Path("run/metrics.jsonl").read_text().splitlines()[-1])
        figures = ("step", "loss", "eval_loss", "gradient_norm", "learning_rate")
        text = json.dumps({name: line[name] for name in figures}, indent=2)
        (target / "next.json").write_text(f"{text}\n")


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main(sys.argv[1])
