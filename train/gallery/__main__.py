"""One picture for each family that sees, hears, acts, or knows a structure:

    python -m train.gallery [FAMILY ...] [--out DIR]

Tiny models learn to name a handwritten digit that lies somewhere on a picture of 32 x 32 pixels, or
the tones of a second of sound. What they then attend to is drawn, by the figures of
`transformers-jax inspect`; of a model that acts, what it obtains. The page: docs/gallery.md.

    pictures.py    digits on noise, and for each family a config and its figure
    sounds.py      tones one after the other, likewise
    actions.py     episodes, likewise
    structures.py  proteins, and modules with their imports, likewise
    __main__.py    training, by a step of one's own, and the command
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tyro.conf import DisallowNone, Positional

import transformers_jax as tj
from train.gallery import actions, pictures, sounds, structures
from train.gallery.actions import ACTED, Acted
from train.gallery.pictures import SHOWN, Shown
from train.gallery.sounds import HEARD, Heard
from train.gallery.structures import STRUCTURED, Structured
from transformers_jax.flags import parse

Family = Shown | Heard | Acted | Structured
EVERY: dict[str, Family] = {**SHOWN, **HEARD, **ACTED, **STRUCTURED}
MAKERS: dict[type, Any] = {
    Shown: pictures,
    Heard: sounds,
    Acted: actions,
    Structured: structures,
}
"""What makes the batches and figures of a family."""


def loss_of(shown: Family, out: Any, inputs: dict[str, Any]) -> Any:
    """The loss of an output; of a model without a head the cross-entropy of the first numbers of
    its vector, as scores of classes; of one that acts that of the actions that were taken."""
    if shown.kind == "acts":
        scores = jax.nn.log_softmax(out.action_preds) * inputs["attention_mask"][..., None]
        return -(scores * inputs["actions"]).sum() / inputs["attention_mask"].sum()
    labels: Any = inputs.get("labels")
    if shown.head != "none":
        return out.loss
    scores = jax.nn.log_softmax(out.pooler_output[:, :10])
    return -jnp.take_along_axis(scores, labels[:, None], axis=1).mean()


def train(shown: Family, steps: int) -> tuple[Any, float]:
    """(the trained model, the mean of its last losses, NaN without any)."""
    options: dict[str, Any] = dict(head=shown.head, key=jax.random.key(0), unroll=False)
    model = tj.from_config(shown.config(), **options)
    apply, params = tj.functional(model)
    rate = optax.warmup_cosine_decay_schedule(0.0, 3e-3, steps // 10, max(steps, 1))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    more: dict[str, Any] = {}
    if shown.kind.startswith("compares"):
        more = {"return_loss": True}

    @jax.jit
    def step(params: Any, state: Any, inputs: dict[str, Any]) -> Any:
        given = {n: x for n, x in inputs.items() if n != "labels" or shown.head != "none"}
        loss = lambda params: loss_of(shown, apply(params, **given, **more), inputs)
        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state, value

    make = MAKERS[type(shown)].batch
    state, losses = optimizer.init(params), []
    for number in range(steps):
        params, state, loss = step(params, state, make(shown.kind, number))
        losses.append(loss)
    last = [float(loss) for loss in losses[-20:]]
    return tj.bind(model, params), float(np.mean(last)) if last else float("nan")


@dataclass(frozen=True)
class Options:
    """Trains a tiny model of each family, and draws what it attends to."""

    families: Positional[tuple[str, ...]] = tuple(EVERY)
    """which of them"""
    steps: DisallowNone[int | None] = None
    """of training, in place of those of each family"""
    out: Path = Path("docs/gallery")
    """a folder for the pictures"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains a tiny model of each family, and draws what it attends to."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = parse(Options, arguments, "python -m train.gallery", description=__doc__)
        if unknown := set(options.families) - set(EVERY):
            names = ", ".join(sorted(unknown))
            raise ValueError(f"no picture is of {names}; there are those of {', '.join(EVERY)}")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.families:
        began, cpu = time.perf_counter(), time.process_time()
        steps = EVERY[name].steps if options.steps is None else options.steps
        model, loss = train(EVERY[name], steps)
        file = options.out / f"{name}.png"
        MAKERS[type(EVERY[name])].draw(name, model, file)
        spent = f"{time.perf_counter() - began:.0f} s ({time.process_time() - cpu:.0f} of CPU)"
        print(f"{name:26} loss {loss:7.4f}   {spent:24} {file}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
