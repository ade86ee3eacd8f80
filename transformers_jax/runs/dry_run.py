"""What a run would be and cost, without making anything of it.

The text is read, the step is compiled for the devices that are here, and no folder is made.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from transformers_jax import shard
from transformers_jax.arrays import to_dtype
from transformers_jax.data.python_docs import cache_dir
from transformers_jax.models.base import Model
from transformers_jax.training.config import TrainConfig, to_dict
from transformers_jax.training.devices import devices_of
from transformers_jax.training.folder import check_out
from transformers_jax.training.initial import abstract_model, check_start
from transformers_jax.training.metrics import show_bytes, show_count
from transformers_jax.training.passes import rows_of_steps
from transformers_jax.training.recorded import find_steps
from transformers_jax.training.resolve import (
    Resolved,
    flops_per_step,
    newest_record,
    resolve,
    tokens_per_row,
)
from transformers_jax.training.state import TrainState, abstract_state


@dataclass(frozen=True)
class Memory:
    """Bytes of one device, as the compiler counts them for the program of a step.

    Attributes:
        state: parameters, optimizer and a batch: what goes in.
        temporary: activations, gradients and the like, at most at one time.
        more: results that take no memory over, and the program itself.
    """

    state: int
    temporary: int
    more: int

    @property
    def total(self) -> int:
        """All together."""
        return self.state + self.temporary + self.more


@dataclass(frozen=True)
class DryRun:
    """What a run would be; its text is for a screen.

    Attributes:
        config: with the vocabulary of the tokenizer, and passes as steps.
        start: the step of the folder that it would continue from; 0: none.
        tokens: positions of all steps, and `flops` of all steps.
        checkpoint: bytes of one.
        notes: what a start would say.
    """

    config: TrainConfig
    model: Model
    devices: str
    start: int
    tokens_per_step: int
    tokens: int
    flops_per_step: float
    flops: float
    memory: Memory
    checkpoint: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        config, memory = self.config, self.memory
        compute = "" if config.compute_dtype is None else f", computed in {config.compute_dtype}"
        rows = {
            "model": f"{config.model.model_type}, {self.model.parameter_count:,} parameters in "
            f"{config.dtype}{compute}, on {self.devices}",
            "weights": config.init_from if config.starts else f"drawn from seed {config.seed}",
            "objective": f"{config.objective}",
            "optimizer": f"{config.optimizer}",
            "steps": f"{config.steps:,}, " + (f"from {self.start:,} on" if self.start else "new"),
            "tokens": f"{self.tokens_per_step:,} a step, {show_count(self.tokens)} in all",
            "compute": f"{self.flops_per_step:.3g} FLOPs a step, {self.flops:.3g} in all",
            "memory of a device": f"{show_bytes(memory.total)} by the compiler's count: "
            f"{show_bytes(memory.state)} of state, {show_bytes(memory.temporary)} temporary, "
            f"{show_bytes(memory.more)} else",
            "a checkpoint": f"{show_bytes(self.checkpoint)} on the disk; {config.keep} are kept",
        }
        width = max(map(len, rows))
        lines = [*self.notes, json.dumps(to_dict(config), indent=2)]
        lines += [f"{name:<{width}}  {text}" for name, text in rows.items()]
        return "\n".join([*lines, f"a dry run: nothing was made in {config.out}"])


def dry_run(config: TrainConfig) -> DryRun:
    """What `fit(config)` would run, as far as can be said without a step.

    Raises:
        ValueError: whatever makes the run impossible.
    """
    run, notes = check_out(config.out, config.resume), list[str]()
    with _cache_as_it_is():
        saved = newest_record(_saved_steps(run))
        resolved = resolve(config, run, saved, notes.append)
    config = resolved.config
    if saved is None and config.starts:
        check_start(config)
    model = abstract_model(config)
    _, optimizer, step = resolved.training(model)
    state = abstract_state(model, optimizer, to_dtype(config.dtype), mesh=resolved.mesh)
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves((state.params, state.opt)))
    resolved.check(step, run, size)
    rows = rows_of_steps(config)
    largest = max([config.data.batch, *(batch for _, batch in config.batch_warmup)])
    row = tokens_per_row(config, resolved.stream)
    per_step = flops_per_step(model, config, resolved.stream)
    return DryRun(
        config=config,
        model=model,
        devices=devices_of(resolved.mesh),
        start=0 if saved is None else saved["step"],
        tokens_per_step=row * config.data.batch,
        tokens=row * rows,
        flops_per_step=per_step,
        flops=per_step / config.data.batch * rows,
        memory=compiled_memory(step, state, resolved, largest),
        checkpoint=size,
        notes=tuple(notes),
    )


def compiled_memory(step: Any, state: TrainState, resolved: Resolved, rows: int) -> Memory:
    """The compiler's count for a step of a batch of so many rows."""
    where = None if resolved.mesh is None else shard.batch_sharding(resolved.mesh)
    shape = lambda x: jax.ShapeDtypeStruct(np.shape(x), np.asarray(x).dtype, sharding=where)
    batch = jax.tree.map(shape, resolved.stream.empty(rows))
    count = step.lower(step.adapted(state), batch).compile().memory_analysis()
    return Memory(
        state=count.argument_size_in_bytes,
        temporary=count.temp_size_in_bytes,
        more=count.output_size_in_bytes
        - count.alias_size_in_bytes
        + count.generated_code_size_in_bytes,
    )


def _saved_steps(run: Path) -> list[Path]:
    with contextlib.suppress(ValueError):
        return find_steps(run)
    return []


@contextlib.contextmanager
def _cache_as_it_is() -> Iterator[None]:
    """Within this, the text that the package makes itself is taken from the cache if it is there,
    and else made in a folder that is removed again."""
    name = "TRANSFORMERS_JAX_CACHE"
    before = os.environ.get(name)
    if (cache_dir() / "datasets").exists():
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ[name] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before
