"""Saved states: written by orbax in the background, verified leaf by leaf when they are read.

Orbax commits a step by renaming its folder, so that a killed process leaves complete steps behind
it; but a flipped bit in a saved array is read back without an error. So each step also records an
integer checksum of every leaf, computed where the leaf lives. Integer sums are associative: the
same array has the same checksum on every mesh.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, UInt32
from transformers_jax.training.state import TrainState

FORMAT = 1


class Checkpoints:
    """The checkpoints of a run: `keep` of them, the newest.

    Saving copies the state to the host and returns; a thread writes. A failure to write is raised
    by the next `check`.
    """

    def __init__(self, folder: str | Path, keep: int = 3):
        import orbax.checkpoint as ocp

        logging.getLogger("absl").setLevel(logging.ERROR)  # orbax tells every step what it does
        self.folder = Path(folder).absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=max(keep, 2),  # a damaged newest one must not be the only one
            create=True,
            cleanup_tmp_directories=True,
            enable_async_checkpointing=True,
        )
        self._ocp = ocp
        self._manager = ocp.CheckpointManager(
            self.folder, options=options, item_names=("state", "meta")
        )

    def steps(self) -> list[int]:
        """The steps that are saved completely, the oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState, meta: dict[str, Any]) -> None:
        """Begins to save; `meta` is what else a later run must know, as JSON."""
        step, saved = int(state.step), _plain(state)
        sums = {name: int(value) for name, value in checksums(saved).items()}
        meta = {**meta, "format": FORMAT, "step": step, "checksums": sums}
        args = self._ocp.args
        self._manager.save(
            step,
            args=args.Composite(state=args.StandardSave(saved), meta=args.JsonSave(meta)),
            force=True,
        )

    def check(self) -> None:
        """Raises what went wrong in the background."""
        self._manager.check_for_errors()

    def wait(self) -> None:
        """Returns when everything is written."""
        self._manager.wait_until_finished()
        self._manager.check_for_errors()

    def close(self) -> None:
        """Waits, and ends the thread."""
        self._manager.close()

    def meta(self, step: int) -> dict[str, Any]:
        """What was recorded with a step.

        Raises:
            ValueError: it cannot be read.
        """
        args = self._ocp.args
        try:
            return dict(
                self._manager.restore(step, args=args.Composite(meta=args.JsonRestore())).meta
            )
        except Exception as error:
            raise ValueError(f"checkpoint {self.folder / str(step)}: {_reason(error)}") from error

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state of a step, laid out like `like`, once every leaf is what was saved.

        Raises:
            ValueError: it cannot be read, has other leaves, or some leaf has changed since.
        """
        where = f"checkpoint {self.folder / str(step)}"
        wanted, args = _plain(like), self._ocp.args
        expected = self.meta(step)["checksums"]
        abstract = jax.tree.map(_abstract, wanted)
        try:
            found = self._manager.restore(
                step, args=args.Composite(state=args.StandardRestore(abstract))
            ).state
        except Exception as error:
            raise ValueError(f"{where}: {_reason(error)}") from error
        sums = {name: int(value) for name, value in checksums(found).items()}
        wrong = sorted(name for name in expected if sums.get(name) != expected[name])
        if wrong or len(sums) != len(expected):
            raise ValueError(f"{where}: damaged, {', '.join(wrong) or 'leaves'} changed on disk")
        key = jax.random.wrap_key_data(found["key"], impl=jax.random.key_impl(like.key))
        return TrainState(found["step"], found["params"], found["opt"], key)

    def newest(
        self, like: TrainState, *, strict: bool, say: Callable[[str], None]
    ) -> tuple[TrainState, dict[str, Any]] | None:
        """The newest good step with what was recorded about it; None if nothing is saved.

        A step that cannot be verified is passed over, said, and removed so that it can be saved
        again; with `strict` it raises instead.
        """
        damaged = []
        for step in reversed(self.steps()):
            try:
                found = self.restore(step, like), self.meta(step)
            except ValueError as error:
                if strict:
                    raise ValueError(f"{error}; --resume auto would use an older one") from error
                say(f"WARNING: {_line(error)}; trying the one before")
                damaged.append(step)
                continue
            for bad in damaged:
                self._manager.delete(bad)
            return found
        if damaged:
            raise ValueError(
                f"none of the checkpoints in {self.folder} is intact; "
                "start again in another folder (--out)"
            )
        return None


def checksums(tree: Any) -> dict[str, UInt32[Array, ""]]:
    """{"params.embed.table": a checksum, ...}: any one flipped bit changes it."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in flat]
    return dict(zip(names, jax.device_get(_sums([leaf for _, leaf in flat]))))


@jax.jit
def _sums(leaves: list[Array]) -> list[UInt32[Array, ""]]:
    return [_checksum(leaf) for leaf in leaves]


def _checksum(x: Array) -> UInt32[Array, ""]:
    """Sum of bits x odd weights modulo 2^32; a bit counts 2^k x odd, which is never 0."""
    if x.dtype == jnp.bool_:
        x = x.astype(jnp.uint8)
    words = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[x.dtype.itemsize]
    bits = jax.lax.bitcast_convert_type(x, words).astype(jnp.uint32)
    strides = [1]
    for size in reversed(bits.shape[1:]):
        strides.insert(0, strides[0] * size % 2**32)
    place = functools.reduce(  # without a reshape, which would gather a sharded array
        jnp.add,
        (
            jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis) * jnp.uint32(stride)
            for axis, stride in zip(range(bits.ndim), strides)
        ),
        jnp.uint32(0),
    )
    return jnp.sum(bits * (2 * place + 1), dtype=jnp.uint32)


def _plain(state: TrainState) -> dict[str, Any]:
    """Plain containers and arrays only: named tuples by field, keys as their numbers."""
    fields = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
    return {**fields, "key": jax.random.key_data(state.key)}


def _abstract(x: Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)


def _reason(error: BaseException) -> str:
    """The first cause: orbax wraps what happened in general remarks."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"cannot be read ({type(error).__name__}: {_line(error)})"


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
