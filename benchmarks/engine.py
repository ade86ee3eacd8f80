"""What the engine adds to the time of a step: reading, packing, saving, checking, continuing.

    python -m benchmarks.run engine

Texts are random ids in documents of log-normal length (mean about 400, longest 20,000), the model
of the savings is GPT-2 124M with Adam's moments.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

ROWS, LENGTH, BATCH = ("stream", "packed", "padded"), 512, 32
SECONDS = 1.0
ROUNDS = 15
FAR = 1_000_000  # the step at which a run is continued
SPECIAL = "pad unk bos eos cls sep mask fim_prefix fim_middle fim_suffix".split()


def text(documents: int = 20_000) -> Any:
    """Documents with sentences."""
    from transformers_jax.data.tokens import Tokens

    rng = np.random.default_rng(0)
    lengths = rng.lognormal(5.6, 0.9, documents).astype(int).clip(2, 20_000)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    ids = rng.integers(200, 50_000, starts[-1]).astype(np.uint16)
    sentences = np.unique(
        np.concatenate([starts[:-1], np.flatnonzero(rng.random(len(ids)) < 0.04)])
    )
    return Tokens(ids=ids, starts=starts, sentences=sentences)


def words() -> Any:
    """A vocabulary with all special tokens of the objectives."""
    from transformers_jax.objectives import Vocabulary

    return Vocabulary(
        size=50_304,
        special={role: number for number, role in enumerate(SPECIAL)},
        sentinels=tuple(range(50_303, 50_203, -1)),
        modes={"R": 20, "S": 21, "X": 22},
        continues=np.random.default_rng(1).random(50_304) < 0.4,
    )


def reading() -> dict[str, dict[str, float]]:
    """{"packed MaskedLM": {"tokens_per_second": ..., "fill": ...}, ...}, one thread."""
    from transformers_jax.data.config import Data
    from transformers_jax.data.packing import fill
    from transformers_jax.data.stream import Part, Stream
    from transformers_jax.objectives import OBJECTIVES

    tokens, vocabulary, speeds = text(), words(), {}
    for rows in ROWS:
        for name, record in OBJECTIVES.items():
            objective = record()
            if objective.single and rows != "padded":
                continue
            data = Data(rows=rows, length=LENGTH, batch=BATCH)
            stream = Stream([Part(tokens, data, objective, vocabulary, 0)], [1.0], data)
            position, fills, count = stream.start, [], 0
            began = time.perf_counter()
            while time.perf_counter() - began < SECONDS:
                batch, position = stream.batch(position, BATCH)
                fills.append(fill(batch))
                count += sum(
                    batch[n].size for n in ("input_ids", "decoder_input_ids") if n in batch
                )
            rate = count * float(np.mean(fills)) / (time.perf_counter() - began)
            speeds[f"{rows} {name}"] = {"tokens_per_second": rate, "fill": float(np.mean(fills))}
    return speeds


def continuing() -> dict[str, float]:
    """Seconds until the first batch at step 0 and at a step far on."""
    from transformers_jax.data.config import Data
    from transformers_jax.data.prefetch import prefetched
    from transformers_jax.data.stream import Cursor, Part, Position, Stream
    from transformers_jax.objectives import CausalLM

    data, tokens, vocabulary = Data(rows="packed", length=LENGTH, batch=BATCH), text(), words()
    seconds = {}
    for name, step in (("at step 0", 0), (f"at step {FAR:,}", FAR)):
        part = Part(tokens, data, CausalLM(), vocabulary, 0)
        rows = len(part.rows(0, 0))
        windows, row = divmod(step * BATCH, rows)  # about: windows differ by a few rows
        epoch, window = divmod(windows, part.windows)
        position = Position((Cursor(epoch, window, row % rows // 2),), (step * BATCH,))
        part = Part(tokens, data, CausalLM(), vocabulary, 0)
        began = time.perf_counter()
        next(prefetched(Stream([part], [1.0], data), position, lambda _: BATCH, first=step))
        seconds[name] = time.perf_counter() - began
    return seconds


def in_pairs(one: Callable[[], Any], other: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """The median of the ratios one / other of CPU seconds, in turns."""
    ratios = []
    for number in range(rounds):
        times = {}
        for name, run in ((0, one), (1, other)) if number % 2 else ((1, other), (0, one)):
            began = time.process_time()
            run()
            times[name] = time.process_time() - began
        ratios.append(times[0] / times[1])
    return statistics.median(ratios)


def guards() -> dict[str, float]:
    """CPU seconds of the engine's step over those of one without checks, per setting."""
    import jax
    import optax

    import transformers_jax as tj
    from benchmarks.cases import training
    from transformers_jax.training.state import init_state
    from transformers_jax.training.step import make_step

    ratios = {}
    for case, repeats in (("train nano", 20), ("train 6x384", 1)):
        setting = training.CASES[case]
        with tempfile.TemporaryDirectory() as folder:
            training.prepare(setting, folder)
            model = tj.from_pretrained(folder)
        tx = optax.adamw(1e-3)
        batch = {"input_ids": np.asarray(training.tokens(setting), np.int32)}
        guarded = make_step(model, tj.causal_lm, tx, clip=1.0)
        apply, _ = tj.functional(model)

        def bare(state, batch, apply=apply, tx=tx):
            loss = lambda p: tj.causal_lm(lambda **i: apply(p, **i), batch, None)[0]
            value, grads = jax.value_and_grad(loss)(state.params)
            norm = optax.tree.norm(grads)
            grads = jax.tree.map(lambda g: g * (1.0 / jax.numpy.maximum(norm, 1.0)), grads)
            updates, opt = tx.update(grads, state.opt, state.params)
            params = optax.apply_updates(state.params, updates)
            new = {"step": state.step + 1, "params": params, "opt": opt}
            return _replace(state, new), {"loss": value}

        plain = jax.jit(bare, donate_argnums=0)
        states = [init_state(model, tx, jax.random.key(0)) for _ in range(2)]

        def run(which, step, states=states, batch=batch, repeats=repeats):
            for _ in range(repeats):
                states[which], metrics = step(states[which], batch)
            metrics["loss"].block_until_ready()

        one = lambda run=run, guarded=guarded: run(0, guarded)
        other = lambda run=run, plain=plain: run(1, plain)
        one(), other()
        ratios[case] = in_pairs(one, other)
    return ratios


def _replace(state: Any, values: dict[str, Any]) -> Any:
    import dataclasses

    return dataclasses.replace(state, **values)


def saving() -> dict[str, float]:
    """Seconds of a save of 124M parameters with Adam: the stall, the copy to the host, the
    checksums, all of it."""
    import jax
    import optax

    import transformers_jax as tj
    from transformers_jax.training.checkpoint import Checkpoints, checksums
    from transformers_jax.training.state import init_state

    model = tj.from_config(tj.GPT2Config(), head="causal_lm", key=jax.random.key(0))
    state = init_state(model, optax.adam(1e-3), jax.random.key(0))
    jax.block_until_ready(state.params)
    tree = {"params": state.params, "opt": state.opt}
    checksums(tree)
    began = time.perf_counter()
    checksums(tree)
    sums = time.perf_counter() - began
    began = time.perf_counter()
    jax.tree.map(lambda x: np.array(x, copy=True), tree)
    copy = time.perf_counter() - began
    stalls, wholes = [], []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(folder, 2)
        for step in range(1, 4):
            state = _replace(state, {"step": jax.numpy.asarray(step, jax.numpy.int32)})
            began = time.perf_counter()
            checkpoints.save(state, {})
            stalls.append(time.perf_counter() - began)
            checkpoints.wait()
            wholes.append(time.perf_counter() - began)
        checkpoints.close()
    return {
        "stall": min(stalls),
        "copy to the host": copy,
        "checksums": sums,
        "until it is written": min(wholes),
    }


def measure() -> dict[str, Any]:
    """All of it."""
    return {
        "reading": reading(),
        "continuing": continuing(),
        "guards": guards(),
        "saving": saving(),
    }
