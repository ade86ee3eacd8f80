"""How fast pictures of a folder become rows of a batch, and which share of a step that is.

    python -m benchmarks.run pictures

JPEG files of 500 x 375 are read as a run reads them, by the one thread that makes batches ahead of
the steps: decoded, resized to 224 x 224 and normalised; or cut out at random, resized and mirrored.
The step is one of ViT-S/16 (Touvron et al. 2021, table 1) with AdamW, in float32.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import processors

IMAGES, BATCH, STEPS, CLASSES = 64, 8, 3, 10
SMALL = dict(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536)


def reading(config: Any, rounds: int) -> dict[str, float]:
    """Images a second of each way to read them: the median of the rounds."""
    from transformers_jax.data.augment.settings import Augment
    from transformers_jax.data.config import Table
    from transformers_jax.models.base import Plan
    from transformers_jax.processing.readers import new_processor
    from transformers_jax.tasks import ImageClassification
    from transformers_jax.tasks.corpus import read_task

    model, rates = Plan(config, "image_classification").build(), {}
    ways = {"resized": Augment(), "cut out and mirrored": Augment(crop=(0.08, 1.0), flip=0.5)}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a", "b"):
            (inside := Path(folder) / name).mkdir()
            processors.write_pictures(inside, IMAGES // 2)
        for way, augment in ways.items():
            data = Table(train=folder, batch=BATCH, validation_fraction=0.0)
            task = ImageClassification(augment=augment)
            corpus = read_task(data, task, None, model, processor=new_processor(config))
            examples, noise, seconds = corpus.train.examples, np.random.default_rng(0), []
            for _ in range(rounds):
                began = time.perf_counter()
                rows = [examples.draw(number, noise) for number in range(IMAGES)]
                np.stack([row.once["pixel_values"] for row in rows])
                seconds.append(time.perf_counter() - began)
            rates[way] = IMAGES / float(np.median(seconds))
    return rates


def stepping(config: Any, rounds: int) -> float:
    """Images a second of a training step."""
    import jax
    import jax.numpy as jnp
    import optax

    import transformers_jax as tj

    rng = np.random.default_rng(0)
    model = tj.from_config(config, head="image_classification", key=jax.random.key(0))
    step = tj.make_step(model, tj.supervised, optimizer := optax.adamw(1e-5))
    state = tj.init_state(model, optimizer, jax.random.key(0))
    batch = {
        "pixel_values": jnp.asarray(rng.normal(size=(BATCH, 3, 224, 224)), jnp.float32),
        "labels": jnp.asarray(rng.integers(0, CLASSES, BATCH), jnp.int32),
    }
    seconds = []
    for _ in range(1 + max(STEPS, rounds)):
        began = time.perf_counter()
        state, metrics = step(state, batch)
        float(metrics["loss"])
        seconds.append(time.perf_counter() - began)
    return BATCH / float(np.median(seconds[1:]))


def measure(rounds: int) -> dict[str, Any]:
    """{"images": {way: images a second}, "step": images a second}."""
    import transformers_jax as tj

    config = tj.ViTConfig(**SMALL).replace(num_labels=CLASSES)
    return {"images": reading(config, rounds), "step": stepping(config, rounds)}
