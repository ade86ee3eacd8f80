"""A small text, a small run, and models that compile in a second."""

import jax
import pytest

import transformers_jax as tj
from transformers_jax.data.config import Data
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory):
    """Runs of the same shapes share their programs, as they do on a user's machine."""
    before = jax.config.jax_compilation_cache_dir
    least = jax.config.jax_persistent_cache_min_compile_time_secs
    folder = tmp_path_factory.mktemp("compiled")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    yield folder
    jax.config.update("jax_compilation_cache_dir", before)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least)


@pytest.fixture(scope="session")
def text_file(tmp_path_factory):
    """Eleven thousand characters that are easy to learn."""
    lines = [f"line {n}: {n} times {n % 7} is {n * (n % 7)}.\n" for n in range(400)]
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join(lines))
    return path


@pytest.fixture
def small(text_file, tmp_path):
    """A run of six steps, with dropout, so that noise must be reproduced as well."""
    return TrainConfig(
        model=tj.GPT2Config(n_layer=1, n_head=2, n_embd=16, n_positions=32, vocab_size=256),
        data=Data(path=str(text_file), tokenizer="byte", length=16, batch=4),
        optimizer=AdamW(peak=3e-3, schedule=Cosine(warmup=2)),
        steps=6,
        schedule_steps=6,
        evaluation=Evaluation(every=3, batches=2),
        sample=Sample(count=0),
        save_every=2,
        log_every=2,
        out=str(tmp_path / "run"),
    )


@pytest.fixture(scope="session")
def model():
    """A causal language model without noise."""
    config = tj.GPT2Config(
        n_layer=1, n_head=2, n_embd=16, n_positions=16, vocab_size=37,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return tj.from_config(config, head="causal_lm", key=jax.random.key(0))


@pytest.fixture(scope="module")
def without_pictures():
    """Plotting takes longer than a small run; other tests check the plots."""
    patch = pytest.MonkeyPatch()
    patch.setattr("transformers_jax.runs.report.plot_run", lambda folder: [])
    yield
    patch.undo()
