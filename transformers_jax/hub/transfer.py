"""Moves tensors from a file into (sharded) parameters, and from parameters to a file.

A parameter is filled block by block: a donated buffer, allocated in its final sharding and dtype,
takes some megabytes of the file at a time. Host memory, apart from the parameters, therefore does
not grow with the model, nor with its largest tensor. Where no program is needed NumPy puts a
parameter together, in a few threads: on a CPU that is one device, which then takes over the memory
as it is, and small ones on any device, whose programs would cost more than all their copies.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from transformers_jax.hub.blocks import blocks, fill_host, host_zeros, largest
from transformers_jax.hub.files import Checkpoint, Entry
from transformers_jax.hub.fill import Fill, Piece
from transformers_jax.hub.header import aligned_bytes
from transformers_jax.hub.table import Report, Table
from transformers_jax.processes import on_host

BLOCK = 8 * 2**20  # bytes of a file in flight
CACHED = (
    2 * 2**20
)  # bytes that a thread on the host has in work: more than its cache holds are read
# from memory again, and of fewer a transpose is written in shorter runs, by more calls
THREADS = min(4, os.cpu_count() or 1)
SMALL = 2**20  # bytes of a parameter that is not worth a program


def load(
    checkpoint: Checkpoint, report: Report, targets: Mapping[str, jax.ShapeDtypeStruct]
) -> dict[str, jax.Array]:
    """The parameters {path: array} that a checkpoint fills, by the report of `Table.check`.

    `targets` gives shape, dtype and sharding (None: the default device) of each path. Paths of
    absent groups are left out.

    Raises:
        ValueError: an integer tensor for a real parameter or the reverse, weights that are not
            finite, or too large for the dtype that is asked for: all of them in one error, by name.
    """
    _check_kinds(checkpoint, report, targets)
    paths = dict.fromkeys(path for fill in report.fills for path in fill.row.ours)
    on_host = {path: host_zeros(targets[path]) for path in _on_host(report, targets)}
    arrays = {
        path: jnp.zeros(targets[path].shape, targets[path].dtype, device=targets[path].sharding)
        for path in paths
        if path not in on_host
    }
    pieces = [(fill, piece) for fill in report.fills for piece in fill.pieces]
    host = [(fill, piece) for fill, piece in pieces if piece.paths[0] in on_host]
    most: list[tuple[Fill, Any]] = []
    spare = [aligned_bytes(min(BLOCK, CACHED)) for _ in range(THREADS)]

    def put(one: tuple[Fill, Piece]) -> tuple[Fill, Any]:
        memory = spare.pop()
        try:
            return one[0], fill_host(checkpoint, *one, on_host, memory)
        finally:
            spare.append(memory)

    with ThreadPoolExecutor(THREADS) as pool:
        most += pool.map(put, host)
    for fill, piece in pieces:
        if piece.paths[0] not in on_host:
            most.append((fill, _fill(checkpoint, fill, piece, arrays)))
    _check_magnitudes(checkpoint, most, targets)
    arrays |= {path: jax.device_put(a, targets[path].sharding) for path, a in on_host.items()}
    return {path: arrays[path] for path in paths}


def _on_host(report: Report, targets: Mapping[str, jax.ShapeDtypeStruct]) -> set[str]:
    """Parameters to put together on the host: those on one device that is a CPU, or that are small,
    as are all that share a tensor with them."""
    default = jnp.zeros(()).devices()

    def fits_host(path: str) -> bool:
        target = targets[path]
        devices = default if target.sharding is None else target.sharding.device_set
        small = math.prod(target.shape) * target.dtype.itemsize <= SMALL
        return len(devices) == 1 and (small or next(iter(devices)).platform == "cpu")

    shared = [fill.row.ours for fill in report.fills]
    mixed = {path for paths in shared if not all(map(fits_host, paths)) for path in paths}
    return {path for paths in shared for path in paths} - mixed


def export(
    table: Table,
    params: Mapping[str, Any],
    *,
    bare: bool = False,
    sizes: Mapping[str, int] | None = None,
) -> dict[str, Entry]:
    """Their tensors {name: Entry} of the parameters {path: array}, for `files.save`.

    Nothing is fetched from a device until an entry is read. `bare` writes the backbone without its
    prefix, as a model without a head is saved. Arrays on the devices of several processes are
    gathered when they are read: all of these read the same entries, in the same order.

    Raises:
        ValueError: parameters that no row mentions.
    """
    shapes = {path: np.shape(leaf) for path, leaf in params.items()}
    fills = table.fills(shapes, sizes)
    mentioned = {path for fill in fills.values() for path in fill.row.ours}
    if unknown := sorted(set(params) - mentioned):
        raise ValueError(f"no row of the table writes {', '.join(unknown)}")
    entries = {}
    for name, fill in fills.items():
        written = table.bare(name, fill.row.group) if bare else name
        dtype = np.dtype(fill.row.stored or params[fill.row.ours[0]].dtype)
        entries[written] = Entry(fill.shape, dtype, functools.partial(_gather, fill, params))
    for each in table.computed:
        dtype = np.dtype(each.stored or next(iter(params.values())).dtype)
        value = functools.partial(lambda each, dtype: each.value().astype(dtype), each, dtype)
        entries[table.bare(each.name) if bare else each.name] = Entry(each.shape, dtype, value)
    return entries


def verify(checkpoint: Checkpoint, report: Report) -> None:
    """Compares the tensors of a file that a formula gives with the formula.

    Raises:
        ValueError: one that differs by more than the rounding of its dtype: it was changed, and the
            model here would ignore that.
    """
    for name, each in report.computed.items():
        stored, value = checkpoint.read(name), each.value()
        if each.stored:
            if not np.array_equal(stored, value):
                raise ValueError(
                    f"{name} is a fixed table that a formula gives, and the file's is another: it "
                    "belongs to another model"
                )
            continue
        if not jnp.issubdtype(stored.dtype, jnp.floating):
            raise ValueError(f"{name} is stored as {stored.dtype}, expected floating-point numbers")
        error = float(np.abs(stored.astype(np.float32) - value).max(initial=0.0))
        bound = 4 * float(jnp.finfo(stored.dtype).eps) * max(1.0, float(np.abs(value).max()))
        bound = max(bound, 1e-4)  # float32 angles of far positions
        if not error <= bound:
            raise ValueError(
                f"{name} is a fixed table that a formula gives, but the file's differs from it by "
                f"{error:.3g}: it was learned, or belongs to another model"
            )


def _check_kinds(
    checkpoint: Checkpoint, report: Report, targets: Mapping[str, jax.ShapeDtypeStruct]
) -> None:
    real = lambda dtype: jnp.issubdtype(dtype, jnp.floating)
    pairs = [
        (fill.name, checkpoint.tensors[fill.name].dtype, targets[path].dtype)
        for fill in report.fills
        for path in fill.row.ours
        if not fill.row.stored
    ]
    if wrong := [
        f"{name}: stored as {stored}, expected a kind of {dtype}"
        for name, stored, dtype in pairs
        if real(stored) != real(dtype)
    ]:
        raise ValueError(f"{checkpoint.path}: wrong dtypes\n  " + "\n  ".join(wrong))


def _check_magnitudes(
    checkpoint: Checkpoint,
    most: Iterable[tuple[Fill, Any]],
    targets: Mapping[str, jax.ShapeDtypeStruct],
) -> None:
    """Refuses tensors by their largest magnitudes: all of those that are wrong, in one error."""
    infinite, large = dict[str, None](), dict[str, str]()
    for fill, value in most:
        dtype = np.dtype(targets[fill.row.ours[0]].dtype)
        if not jnp.issubdtype(dtype, jnp.floating):
            continue
        if not np.isfinite(np.asarray(value).astype(np.float64)):
            infinite[fill.name] = None
        else:
            with np.errstate(over="ignore"):
                cast = np.asarray(value).astype(dtype).astype(np.float64)
            if not np.isfinite(cast):
                most_of = float(jnp.finfo(dtype).max)
                large[fill.name] = f"{float(value):.6g}, and {dtype} holds at most {most_of:.6g}"
    if infinite:
        raise ValueError(f"{checkpoint.path}: NaN or infinity in {', '.join(infinite)}")
    if large:
        lines = "".join(f"\n  {name}: {text}" for name, text in large.items())
        raise ValueError(
            f"{checkpoint.path}: numbers that are too large for the dtype that is asked for"
            f"{lines}\n(dtype='auto' keeps what is stored)"
        )


# ---------------------------------------------------------------- from a file to parameters


def _fill(checkpoint: Checkpoint, fill: Fill, piece: Piece, arrays: dict[str, jax.Array]) -> Any:
    """Moves one piece of a tensor into its parameters; returns the largest magnitude in it."""
    paths = piece.paths
    leaves = tuple(arrays.pop(path) for path in paths)
    sharding = leaves[0].sharding
    lead, most = len(fill.lead), []
    local = piece.stop - piece.start
    if piece.axis is not None:
        cuts = [leaf.sharding.shard_shape(leaf.shape)[lead + piece.axis] for leaf in leaves]
        # a piece that is a part of the axis may end within a shard, or hold several
        local = math.gcd(min(cuts), local // piece.unit) * piece.unit
    # equal programs for pieces that differ in their places alone
    one = replace(piece, start=0, first=0)
    step = _Step(one, lead, tuple(leaf.sharding for leaf in leaves))
    for start, stop in blocks(piece, fill, checkpoint, local, _budget(sharding)):
        first = piece.first + (start - piece.start) // piece.unit
        where = np.array([*fill.lead, first], np.int32)
        block = checkpoint.read(fill.name, start, stop)
        leaves = step.program()(leaves, _everywhere(block, sharding), where)
        most.append(largest(block))
        jax.block_until_ready(leaves)  # so that one block at a time is in memory
    arrays.update(zip(paths, leaves))
    return largest(np.array(most, checkpoint.tensors[fill.name].dtype))


def _budget(sharding: Any) -> int:
    """Bytes of a block. Devices that are made of host memory each have a copy of it in work."""
    devices = sharding.addressable_devices
    host = next(iter(devices)).platform == "cpu"
    return BLOCK // len(devices) if host else BLOCK


def _everywhere(block: np.ndarray, sharding: Any) -> Any:
    """The block on every device that holds a shard; on a CPU they all share the host's memory."""
    if isinstance(sharding, NamedSharding):
        whole = NamedSharding(sharding.mesh, PartitionSpec())
        return jax.make_array_from_callback(block.shape, whole, lambda index: block[index])
    return jax.device_put(block, sharding)


@dataclass(frozen=True)
class _Step:
    """How a block goes into its parameters; equal steps share one compiled program."""

    piece: Piece
    lead: int
    shardings: tuple[Any, ...]

    @functools.lru_cache(maxsize=1024)  # noqa: B019 - frozen and hashable: a cache of programs
    def program(self) -> Callable[..., Any]:
        """(leaves, block, where) -> leaves."""
        first = self.shardings[0]
        if not isinstance(first, NamedSharding) or first.mesh.size == 1:
            return jax.jit(self._update, donate_argnums=0, out_shardings=self.shardings)
        specs = tuple(sharding.spec for sharding in self.shardings)
        none = PartitionSpec()
        # By hand, because a partitioner may gather a whole parameter to update a cut axis.
        update = jax.shard_map(
            functools.partial(self._update, cut=True),
            mesh=first.mesh,
            in_specs=(specs, none, none),
            out_specs=specs,
            check_vma=False,
        )
        return jax.jit(update, donate_argnums=0)

    def _update(self, leaves: Any, block: Any, where: Any, cut: bool = False) -> Any:
        done = []
        each = self.piece.ours(block)
        for leaf, value, sharding in zip(leaves, each, self.shardings):
            value = value.astype(leaf.dtype).reshape((1,) * self.lead + value.shape)
            done.append(self._write(leaf, value, where, sharding if cut else None))
        return tuple(done)

    def _write(self, leaf: Any, value: Any, where: Any, sharding: Any) -> Any:
        """Writes `value` at `where`; with a sharding only the part in this device's shard."""
        indexed = {n: where[n] for n in range(self.lead)}
        if self.piece.axis is not None:
            indexed[self.lead + self.piece.axis] = where[self.lead]
        spec = () if sharding is None else tuple(sharding.spec)
        mine: Any = None
        starts = [indexed.get(n, 0) for n in range(leaf.ndim)]
        for n, names in enumerate(spec):
            if names is None:
                continue
            shard, length = lax.axis_index(names), leaf.shape[n]
            if n in indexed:
                begin = indexed[n] - shard * length
                inside = (begin >= 0) & (begin < length)
                mine = inside if mine is None else mine & inside
                starts[n] = jnp.clip(begin, 0, length - value.shape[n])
            else:
                value = lax.dynamic_slice_in_dim(value, shard * length, length, n)
        if mine is not None:
            value = jnp.where(mine, value, lax.dynamic_slice(leaf, starts, value.shape))
        return lax.dynamic_update_slice(leaf, value, starts)


# ---------------------------------------------------------------- from parameters to a file


def _gather(fill: Fill, params: Mapping[str, Any]) -> np.ndarray:
    """One tensor of theirs from its parameters."""
    rows = [
        piece.theirs([piece.part_of(_at(params[path], fill.lead)) for path in piece.paths])
        for piece in fill.pieces
    ]
    whole = np.ascontiguousarray(np.concatenate(rows) if len(rows) > 1 else rows[0])
    return whole.astype(fill.row.stored) if fill.row.stored else whole


def _at(leaf: Any, lead: tuple[int, ...]) -> np.ndarray:
    if not lead or isinstance(leaf, np.ndarray):
        return on_host(leaf[lead] if lead else leaf)
    return on_host(_index(leaf, np.array(lead, np.int32)))


@jax.jit
def _index(leaf: Any, lead: Any) -> Any:
    for n in range(lead.shape[0]):
        leaf = lax.dynamic_index_in_dim(leaf, lead[n], 0, keepdims=False)
    return leaf
