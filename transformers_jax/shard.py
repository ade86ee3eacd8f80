"""Where arrays live: a mesh from a dict, and rules from logical axis names to mesh axes.

Parameters and activations name their axes in words ("embed heads kv", "batch length embed"), and
two tables of rules say along which mesh axes each of these is cut; nothing else in the package
knows about devices. Mesh axes are `data` (copies of the model, each with its rows of the batch),
`fsdp` (rows of the batch too, and every parameter cut along its width), `experts` (rows of the
batch too, and every device holds some of the experts) and `tensor` (heads, hidden units and
vocabulary cut). A mesh whose axes have other names needs rules of its own: `use_rules`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from transformers_jax.explicit_axes import refuse_explicit_mesh
from transformers_jax.sizes import nearest_divisors, nearest_multiples

MESH_AXES = ("data", "fsdp", "experts", "tensor")

Rules = tuple[tuple[str, str | tuple[str, ...] | None], ...]

DEFAULT_RULES: Rules = (
    ("layers", None),
    ("embed", "fsdp"),
    ("heads", "tensor"),
    ("kv_heads", "tensor"),
    ("kv", None),
    ("mlp", "tensor"),
    ("vocab", "tensor"),
    ("experts", "experts"),
    ("position", None),
    ("type", None),
    ("label", None),
)
"""Parameters: the first rule of a name counts, and a name without a rule is not cut."""

ACTIVATION_RULES: Rules = (
    ("batch", ("data", "fsdp", "experts")),
    ("length", None),
    ("embed", None),
    ("heads", "tensor"),
    ("kv_heads", "tensor"),
    ("kv", None),
    ("mlp", "tensor"),
    ("vocab", "tensor"),
    ("experts", "experts"),
)
"""Activations: `embed` stays whole, because `fsdp` already cuts the batch."""


@dataclass(frozen=True)
class MeshRules:
    """Along which axes of a mesh the named axes of arrays are cut.

    Attributes:
        parameters: (name of an axis, mesh axis or axes, or None) pairs; the first of a name counts.
        activations: the same for activations.
        whole: axes of the mesh along which every device holds the same, by intent.
    """

    parameters: Rules = DEFAULT_RULES
    activations: Rules = ACTIVATION_RULES
    whole: tuple[str, ...] = ()

    @property
    def known(self) -> set[str]:
        """The axes of a mesh that these rules name."""
        rules = (*self.parameters, *self.activations)
        return {*self.whole, *(axis for _, axes in rules for axis in _tuple(axes))}


_rules = jax.make_user_context(MeshRules())  # part of what a compiled program is cached by


def named(axes: Mapping[str, str | None]) -> MeshRules:
    """The rules for a mesh whose axes have other names: {"dp": "data", "mp": "tensor"} says what
    each of them is here; None is an axis along which nothing is cut.

    Raises:
        ValueError: something else than `data`, `fsdp`, `experts`, `tensor` or None, or one twice.
    """
    roles = [role for role in axes.values() if role is not None]
    if wrong := [role for role in roles if role not in MESH_AXES or roles.count(role) > 1]:
        raise ValueError(
            f"axis {wrong[0]!r} of {dict(axes)}: expected each of {', '.join(MESH_AXES)} once at "
            "most, or None"
        )
    theirs = {role: name for name, role in axes.items() if role is not None}

    def renamed(rules: Rules) -> Rules:
        present = lambda ours: tuple(theirs[axis] for axis in _tuple(ours) if axis in theirs)
        return tuple((name, present(ours) or None) for name, ours in rules)

    whole = tuple(name for name, role in axes.items() if role is None)
    return MeshRules(renamed(DEFAULT_RULES), renamed(ACTIVATION_RULES), whole)


@contextlib.contextmanager
def use_rules(rules: MeshRules) -> Iterator[None]:
    """Makes `rules` those by which parameters and activations are placed within the block:

    with use_rules(named({"dp": "data", "mp": "tensor"})): ...

    Loading, `init_state`, `make_step` and the calls of its step belong inside.
    """
    if not isinstance(rules, MeshRules):
        raise TypeError(f"use_rules takes MeshRules, as shard.named({{...}}) gives them; {rules!r}")
    with _rules(rules):
        yield


def check_mesh(mesh: Any) -> None:
    """Raises ValueError for what is no mesh, or has axes that no rule knows: nothing would be cut
    along them, and every device would hold and compute the same."""
    if not isinstance(mesh, Mesh | AbstractMesh):
        raise ValueError(f"mesh={mesh!r}: expected a mesh, such as tj.make_mesh({{'data': -1}})")
    refuse_explicit_mesh(mesh)
    rules = _rules.value
    unknown = [name for name, size in mesh.shape.items() if size > 1 and name not in rules.known]
    if unknown:
        axes = ", ".join(f"{name} {size}" for name, size in mesh.shape.items())
        table = ", ".join(f"{name} -> {axis}" for name, axis in rules.parameters if axis)
        batch = " and ".join(_tuple(dict(reversed(rules.activations)).get("batch")))
        raise ValueError(
            f"the mesh has the axes {axes}, and no rule names {', '.join(unknown)}: every device "
            f"would hold all parameters. The rules are {table}, and the batch over {batch}; use "
            "tj.make_mesh, or say what your axes are: with transformers_jax.shard.use_rules("
            f"transformers_jax.shard.named({{{unknown[0]!r}: 'data'}})): ..."
        )


def make_mesh(axes: Mapping[str, int] | None = None, devices: Sequence[Any] | None = None) -> Mesh:
    """Arranges devices in a mesh with the axes `data`, `fsdp`, `experts` and `tensor`.

    An axis that is not named has size 1; one axis may be -1 and takes all devices that remain.
    Without any axes, all devices are on `data`. A mesh smaller than the machine uses its first
    devices.

    Raises:
        ValueError: an unknown axis, or sizes that the devices cannot fill.
    """
    devices = list(jax.devices() if devices is None else devices)
    if not isinstance(axes, Mapping | None) or not all(
        isinstance(size, (int, np.integer)) for size in (axes or {}).values()
    ):
        raise ValueError(f"mesh {axes!r}: expected a size for each axis, such as {{'data': -1}}")
    axes = dict(axes or {"data": -1})
    if unknown := sorted(set(axes) - set(MESH_AXES)):
        raise ValueError(
            f"mesh axis {unknown[0]!r} is unknown; the axes are {', '.join(MESH_AXES)}"
        )
    sizes = {name: axes.get(name, 1) for name in MESH_AXES}
    free = [name for name, size in sizes.items() if size == -1]
    if len(free) > 1 or any(size != -1 and size < 1 for size in sizes.values()):
        raise ValueError(f"mesh {axes}: sizes must be positive, and at most one of them -1")
    rest = math.prod(size for size in sizes.values() if size != -1)
    if free:
        if len(devices) % rest:
            raise ValueError(
                f"mesh {axes}: {free[0]}=-1 cannot be filled, because {len(devices)} devices are "
                f"not a multiple of {rest}; {nearest_divisors(rest, len(devices))} would be"
            )
        sizes[free[0]] = len(devices) // rest
    count = math.prod(sizes.values())
    if count > len(devices):
        on_cpu = all(device.platform == "cpu" for device in devices)
        raise ValueError(
            f"mesh {axes} needs {count} devices and there are {len(devices)}; make the product of "
            f"the axes {nearest_divisors(count, len(devices))}, or give -1 for one axis"
            + _simulated(count)
            * on_cpu
        )
    grid = np.array(devices[:count]).reshape(tuple(sizes.values()))
    # Auto, not jax.make_mesh's default Explicit: the models leave the layout to the rules here.
    return Mesh(grid, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def _simulated(count: int) -> str:
    """What is said where a CPU is to be more devices than it is."""
    return (
        f"; a CPU simulates {count} devices, to try a mesh, in a command that is started with "
        f"XLA_FLAGS=--xla_force_host_platform_device_count={count}"
    )


def spec_of(
    axes: Sequence[str], rules: Rules, mesh: Mesh, shape: Sequence[int] | None = None
) -> PartitionSpec:
    """The partition of an array whose axes are called `axes`.

    A mesh axis cuts at most one axis of an array: the leftmost whose rule names it.

    Raises:
        ValueError: a length in `shape` that the mesh does not divide, with the nearest it does.
    """
    if shape is not None and len(shape) != len(axes):
        raise ValueError(f"axes {tuple(axes)} do not fit the shape {tuple(shape)}")
    parts = _assign(axes, rules, dict(mesh.shape))
    for axis, length, part in zip(axes, shape or (), parts):
        need = math.prod(mesh.shape[name] for name in part)
        if length % need:
            raise ValueError(
                f"{axis} ({length}) must be a multiple of the mesh's {' x '.join(part)} ({need}); "
                f"the nearest are {nearest_multiples(length, need)}"
            )
    return PartitionSpec(*[_entry(part) for part in parts])


def shardings(axes: Any, shapes: Any, mesh: Mesh) -> Any:
    """A tree of NamedSharding for parameters whose axis names are the tree `axes`.

    Raises:
        ValueError: every parameter that the mesh does not divide, in one message; a mesh with axes
            that no rule knows.
    """
    check_mesh(mesh)
    problems: list[str] = []

    def sharding(path, leaf, names):
        try:
            return NamedSharding(mesh, spec_of(names, _rules.value.parameters, mesh, leaf.shape))
        except ValueError as error:
            where = jax.tree_util.keystr(path, simple=True, separator=".")
            problems.append(f"{where}: {error}")
            return None

    tree = jax.tree_util.tree_map_with_path(sharding, shapes, axes)
    if problems:
        raise ValueError("parameters do not divide the mesh:\n  " + "\n  ".join(problems))
    return tree


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The leading axis is the batch; each device holds its rows."""
    check_mesh(mesh)
    return NamedSharding(mesh, spec_of(("batch",), _rules.value.activations, mesh))


def batch_shards(mesh: Mesh) -> int:
    """Into how many parts the mesh cuts a batch."""
    parts = _assign(["batch"], _rules.value.activations, dict(mesh.shape))
    return math.prod(mesh.shape[name] for name in parts[0])


@contextlib.contextmanager
def use(mesh: Mesh | None) -> Iterator[None]:
    """Makes `mesh` the current one, which `constrain` reads, in traced functions and outside."""
    with contextlib.ExitStack() as stack:
        if mesh is not None:
            check_mesh(mesh)
            try:
                stack.enter_context(jax.set_mesh(mesh))
            except ValueError:  # refused while tracing, where the abstract mesh is all one needs
                stack.enter_context(jax.sharding.use_abstract_mesh(mesh.abstract_mesh))
        yield


def constrain(x: Any, names: str) -> Any:
    """Asks XLA to lay `x`, whose axes are called `names`, out over the current mesh.

    Without a mesh this is the identity. A length that the mesh does not divide (one row while
    generating) is left whole: this is a hint about layout, not about values. Where the mesh has
    axes that no rule knows, what no rule cuts is left to XLA and to whoever placed the arrays.
    """
    sizes = mesh_sizes()
    if not sizes:
        return x
    if len(names.split()) != x.ndim:
        raise ValueError(f"axes {names!r} do not fit an array of shape {x.shape}")
    parts = cutting(names, x.shape)
    free = None if sizes.keys() <= _rules.value.known else PartitionSpec.UNCONSTRAINED
    entries = [_entry(part) if part else free for part in parts]
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*entries))


def mesh_sizes() -> dict[str, int]:
    """The axes of the current mesh that cut something and are the compiler's to use."""
    current = jax.sharding.get_abstract_mesh()
    return {
        name: current.shape[name]
        for name, kind in zip(current.axis_names, current.axis_types)
        if kind == AxisType.Auto and current.shape[name] > 1
    }


def cutting(names: str, shape: Sequence[int]) -> list[tuple[str, ...]]:
    """The axes of the current mesh that cut each axis of an activation, as `constrain` lays it
    out; none where they do not divide it."""
    sizes = mesh_sizes()
    return [
        part if length % math.prod(sizes[name] for name in part) == 0 else ()
        for part, length in zip(_assign(names.split(), _rules.value.activations, sizes), shape)
    ]


def cuts(names: str, shape: Sequence[int]) -> tuple[int, ...]:
    """Into how many parts the current mesh cuts each axis of an activation."""
    sizes = mesh_sizes()
    return tuple(math.prod(sizes[name] for name in part) for part in cutting(names, shape))


def varying(x: Any, *like: Any) -> Any:
    """`x`, marked inside a `jax.shard_map` as differing between devices wherever `like` does.

    A loop that begins with a constant and adds up what devices do not share needs this: its state
    may not change its type. Elsewhere this is the identity.
    """
    missing = frozenset().union(*map(_varies, jax.tree.leaves(like))) - _varies(x)
    return jax.lax.pcast(x, tuple(sorted(missing)), to="varying") if missing else x


def _varies(x: Any) -> frozenset[str]:
    """The axes of an enclosing `shard_map` over which devices hold different values of `x`."""
    kind = jax.typeof(x)
    return kind.manual_axis_type.varying if hasattr(kind, "manual_axis_type") else kind.vma


def _assign(axes: Sequence[str], rules: Rules, sizes: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Mesh axes for each axis; an axis of the mesh of size 1 cuts nothing and is left out."""
    table = dict(reversed(rules))
    used: set[str] = set()
    parts = []
    for axis in axes:
        names = _tuple(table.get(axis))
        part = tuple(name for name in names if sizes.get(name, 1) > 1 and name not in used)
        used.update(part)
        parts.append(part)
    return parts


def _tuple(axes: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (axes,) if isinstance(axes, str) else axes or ()


def _entry(part: tuple[str, ...]) -> str | tuple[str, ...] | None:
    return part[0] if len(part) == 1 else part or None
