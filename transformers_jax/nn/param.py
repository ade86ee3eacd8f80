"""Parameters: the only file that touches `nnx.Param`, and the bridge from modules to plain dicts.

A module is built *abstractly*: each parameter is a shape, the names of its axes and the way it is
drawn. `initialise` then makes the arrays, each born in its own sharding. Functions that run on
accelerators see plain nested dicts with string keys; the module is merged inside the trace.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.traverse_util import unflatten_dict

from transformers_jax.arrays import Array, Float, Key, Params, is_traced
from transformers_jax.nn.precision import held
from transformers_jax.nn.product import mixed_einsum as mixed_einsum
from transformers_jax.nn.product import product
from transformers_jax.nn.sinusoidal import Sinusoids, grid_sinusoids
from transformers_jax.spec import Draw, Sizes

Module = TypeVar("Module", bound=nnx.Module)

ADAPTER = "_adapter"
"""What the name of an adapted parameter has behind it where its adapter is meant."""


@dataclass(frozen=True)
class Layers:
    """The layers of a stack whose parameters one array holds, counted from 0.

    Attributes:
        numbers: of the layers, in the order of the array's `layers` axis, if it has one.
        count: how many layers the stack applies.
        shared: whether several of the layers that are applied share one layer's parameters.
    """

    numbers: tuple[int, ...]
    count: int
    shared: bool = False


class Axes(tuple[str, ...]):
    """The names of a parameter's axes; `layers` says which of a stack's layers it holds, or is None
    outside of stacks; one that is not `learned` is stored and never changed by training; one that
    is `frozen` is no part of what is trained (`partition`); `grid` says which rows are the points
    of a grid (`nn.grid.GridRows`), or is None."""

    layers: Layers | None
    learned: bool
    frozen: bool
    grid: Any

    def __new__(
        cls,
        names: Iterable[str],
        layers: Layers | None = None,
        learned: bool = True,
        frozen: bool | None = False,
        grid: Any = None,
    ) -> Self:
        named = super().__new__(cls, tuple(names))
        named.layers, named.learned, named.frozen, named.grid = layers, learned, bool(frozen), grid
        return named


def param(axes: str, sizes: Sizes, draw: Draw, *, learned: bool = True) -> nnx.Param:
    """An abstract parameter with these axes ("embed heads kv"), of the lengths in `sizes`; one that
    is not `learned` is a table that files hold, which no optimizer of ours changes."""
    names = tuple(axes.split())
    shape = tuple(sizes[name] for name in names)
    return nnx.Param(
        jax.ShapeDtypeStruct(shape, jnp.float32), axes=names, draw=draw, learned=learned
    )


def part(
    base: nnx.Param | None,
    axes: Iterable[str],
    shape: Iterable[int],
    value: float,
    kind: Literal["constant", "uniform", "normal"] = "constant",
    *,
    frozen: bool = False,
) -> nnx.Param:
    """An abstract parameter that an adapter adds, of the same layers as another, `base`."""
    made = nnx.Param(
        jax.ShapeDtypeStruct(tuple(shape), jnp.float32),
        axes=tuple(axes),
        draw=Draw(kind, value),
        learned=not frozen,
        adapted="part",
        frozen=frozen,
    )
    if (layers := getattr(base, "layers", None)) is not None:
        made.set_metadata(layers=layers)
    if getattr(base, "mixed", False):
        made.set_metadata(mixed=True)
    return made


def stacked(module: Module, layers: Layers) -> Module:
    """The abstract module with a leading `layers` axis, for these layers, on every parameter."""
    for _, leaf in nnx.to_flat_state(nnx.state(module)):
        one = leaf.get_value()
        leaf.set_value(jax.ShapeDtypeStruct((len(layers.numbers), *one.shape), one.dtype))
        leaf.set_metadata(axes=("layers", *leaf.axes))
    return numbered(module, layers)


def numbered(module: Module, layers: Layers) -> Module:
    """The abstract module, its parameters marked as those of these layers."""
    for _, leaf in nnx.to_flat_state(nnx.state(module)):
        leaf.set_metadata(layers=layers)
    return module


def contract(equation: str, x: Float[Array, "..."], weight: Any) -> Float[Array, "..."]:
    """An einsum of activations and a parameter, computed in the dtype of the activations, or from
    bfloat16 operands if the model is `mixed`. What stands in the place of a parameter
    (`nn.adapted`) does it in its own way."""
    if isinstance(weight, nnx.Module):
        adapted: Any = weight
        return adapted.contract(equation, x)
    return product(equation, x, weight[...], getattr(weight, "mixed", False))


def mixed(module: Module) -> Module:
    """The module, its products of activations and parameters made from bfloat16 operands.

    Sums, norms, the residual stream and attention's own products keep their dtype.
    """
    for _, leaf in nnx.to_flat_state(nnx.state(module)):
        leaf.set_metadata(mixed=True)
    for _, part in nnx.iter_modules(module):
        if hasattr(part, "mixed"):  # a tied unembedding has no parameter of its own
            part.mixed = True
    return module


def add(x: Float[Array, "..."], bias: Any) -> Float[Array, "..."]:
    """x + bias, or x where there is none."""
    return x if bias is None else x + bias[...].astype(x.dtype)


# ---------------------------------------------------------------- modules and plain dicts


def split(module: nnx.Module) -> tuple[Any, Params]:
    """A hashable definition of the module, and its parameters as nested dicts with string keys."""
    definition, state = nnx.split(module)
    return definition, unflatten({path: leaf.get_value() for path, leaf in _named(state)})


def merge(definition: Any, params: Params) -> Any:
    """The module again; inside a trace this costs nothing at run time."""
    return nnx.merge(definition, nnx.restore_int_paths(_as_modules(params)))


def params(module: nnx.Module) -> Params:
    """The parameters of a module as nested dicts with string keys."""
    return split(module)[1]


def bind(module: Module, values: Params) -> Module:
    """The module with other parameters of the same names and shapes; or with other values of what
    is trained (`partition`), and what is frozen as it is.

    Raises:
        ValueError: names or shapes of another model, all at once.
    """
    if not isinstance(values, Mapping):
        raise ValueError(
            f"bind(model, parameters): expected nested dicts, as tj.functional(model)[1] gives "
            f"them; {type(values).__name__} came"
        )
    ours = {path: leaf.get_value().shape for path, leaf in _named(nnx.state(module))}
    theirs = {path: jnp.shape(leaf) for path, leaf in flatten(values).items()}
    if theirs.keys() < ours.keys():
        trained, frozen = partition(module)
        if theirs.keys() == flatten(trained).keys():
            values = combine(values, frozen)
            theirs = {path: jnp.shape(leaf) for path, leaf in flatten(values).items()}
    wrong = [f"missing {path}" for path in ours.keys() - theirs.keys()]
    wrong += [f"unexpected {path}" for path in theirs.keys() - ours.keys()]
    for path in ours.keys() & theirs.keys():
        if theirs[path] != ours[path]:
            wrong += [f"{path} has shape {theirs[path]}, expected {ours[path]}"]
    if wrong:
        raise ValueError("these parameters are not of this model: " + "; ".join(sorted(wrong)))
    return merge(split(module)[0], values)


def axes(module: nnx.Module) -> dict[str, Any]:
    """The names of each parameter's axes (`Axes`), in the structure of `params(module)`."""
    said: Any = lambda leaf: (
        getattr(leaf, n, None) for n in ("layers", "learned", "frozen", "grid")
    )
    named = _named(nnx.state(module))
    return unflatten({path: Axes(leaf.axes, *said(leaf)) for path, leaf in named})


def partition(module: nnx.Module) -> tuple[Params, Params]:
    """(what is trained, what is frozen) of the parameters of a module: all, and nothing, unless an
    adapter says otherwise (`models.adapters`)."""
    named = _named(nnx.state(module))
    parts = [
        {p: x.get_value() for p, x in named if _is_frozen(x) is kind} for kind in (False, True)
    ]
    return unflatten(parts[0]), unflatten(parts[1])


def combine(trained: Params, frozen: Params) -> Params:
    """The parameters whose `partition` these are."""
    return unflatten({**flatten(frozen), **flatten(trained)}) if frozen else trained


def trained_axes(module: nnx.Module) -> dict[str, Any]:
    """The names of the axes of what is trained, in the structure of `partition(module)[0]`."""
    return unflatten(
        {path: each for path, each in flatten(axes(module)).items() if not each.frozen}
    )


def _is_frozen(leaf: nnx.Param) -> bool:
    return bool(getattr(leaf, "frozen", False))


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"stack.norm.scale": leaf, ...} of nested dicts."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{prefix}{name}"
        flat.update(flatten(value, path + ".") if isinstance(value, Mapping) else {path: value})
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts of {"stack.norm.scale": leaf, ...}."""
    return unflatten_dict(dict(flat), sep=".")


def _named(state: Any) -> list[tuple[str, nnx.Param]]:
    """("stack.blocks.0.norm.scale", parameter) of each; nnx.List has integer keys, which jax.export
    and orbax do not keep: here all are strings. An adapted parameter keeps its path."""
    return [(".".join(_path(path, leaf)), leaf) for path, leaf in nnx.to_flat_state(state)]


def _path(path: tuple[Any, ...], leaf: nnx.Param) -> list[str]:
    """The parts of a path: `query` of `query.base`, and `query_adapter.a` of `query.a`."""
    parts, role = [*map(str, path)], getattr(leaf, "adapted", None)
    if role == "base":
        return parts[:-1]
    if role is None or len(parts) == 1:  # of what an adapter adds, taken by itself
        return parts
    return [*parts[:-2], parts[-2] + ADAPTER, parts[-1]]


def _as_modules(params: Params) -> Params:
    """The inverse of `_path` for nested dicts: parameters where the modules have them."""
    if not isinstance(params, Mapping):
        return params
    tree = {n: _as_modules(value) for n, value in params.items() if not n.endswith(ADAPTER)}
    for name in params.keys() - tree.keys():
        own = name.removesuffix(ADAPTER)
        tree[own] = {**({"base": tree[own]} if own in tree else {}), **params[name]}
    return tree


# ---------------------------------------------------------------- initial values


def initialise(
    module: Module, key: Key, *, shardings: Mapping[str, Any] | None = None, dtype: Any = "float32"
) -> Module:
    """Draws every parameter of an abstract module, born in its sharding.

    Each is drawn from the key and its own path, so the values depend neither on the order of
    construction nor on the mesh; a stacked parameter draws one layer's tensor per layer.

    Shardings: nested like `params(module)`, or None for the default device.
    """
    definition, abstract = split(module)
    shardings = flatten(shardings or {})
    values = {p: draw(module, p, key, shardings.get(p), dtype) for p in flatten(abstract)}
    return merge(definition, unflatten(values))


def draw(
    module: nnx.Module, path: str, key: Key, sharding: Any = None, dtype: Any = "float32"
) -> Array:
    """The initial values of the parameter at `path` of an abstract module."""
    parameter = dict(_named(nnx.state(module)))[path]
    shape, layered = parameter.get_value().shape, parameter.axes[:1] == ("layers",)
    dtype = held(parameter, dtype)
    if parameter.draw.kind == "constant" and (sharding is None or len(sharding.device_set) == 1):
        # a program for every shape would take longer to compile than all of them to fill
        return jax.device_put(np.full(shape, parameter.draw.scale, dtype), sharding)
    fast = jax.default_backend() == "cpu" and not is_traced(key)
    fill = _drawer(shape, jnp.dtype(dtype), parameter.draw, layered, sharding, fast)
    return fill(jax.random.fold_in(key, zlib.crc32(path.encode())))


def is_constant(module: nnx.Module, path: str) -> bool:
    """Whether the initial values of the parameter at `path` are the same for every key."""
    return bool(dict(_named(nnx.state(module)))[path].draw.kind == "constant")


@functools.lru_cache(maxsize=1024)
def _drawer(
    shape: tuple[int, ...], dtype: Any, draw: Draw, layered: bool, sharding: Any, fast: bool
):
    """One compiled program per distinct shape, not per parameter.

    It runs once: `fast` compiles it in half the time, to the same numbers, for a CPU.
    """

    def one(key, shape):
        if draw.kind == "normal" and draw.cut is not None:
            normal = jax.random.truncated_normal(key, -draw.cut, draw.cut, shape, jnp.float32)
            values = draw.scale * normal
        elif draw.kind == "normal":
            values = draw.scale * jax.random.normal(key, shape, jnp.float32)
        elif draw.kind == "uniform":
            values = jax.random.uniform(key, shape, jnp.float32, -draw.scale, draw.scale)
        elif draw.kind == "sinusoids":
            form = Sinusoids(rows=shape[0], halves=draw.halves, closed=draw.halves)
            values = draw.scale * form.table(shape[1])
        elif draw.kind == "grid":
            values = draw.scale * grid_sinusoids(draw.grid, *shape)
        elif draw.kind == "orthogonal":
            values = draw.scale * jax.random.orthogonal(key, shape[-1], shape[:-2])
        else:
            values = jnp.full(shape, draw.scale, dtype)
        return jnp.asarray(values, dtype)

    def fill(key):
        if not layered or draw.kind == "constant":
            return one(key, shape)
        return jax.vmap(lambda k: one(k, shape[1:]))(jax.random.split(key, shape[0]))

    options = {"xla_backend_optimization_level": 1} if fast else None
    return jax.jit(fill, out_shardings=sharding, compiler_options=options)
