"""Which tensors of a family an adapter means, and where they are in a model.

Names are those on disk, as PEFT knows them; the family's weight table says which parameters of ours
a tensor holds, and which of their axes are its inputs and its outputs.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from transformers_jax.hub.fill import Fill
from transformers_jax.models.adapters.records import (
    ALL_LINEAR,
    IA3,
    Adapter,
    BitFit,
    Freeze,
    LoRA,
    Names,
    Train,
)
from transformers_jax.models.adapters.sides import (
    Sides,
    is_linear,
    is_output,
    sides_of,
)
from transformers_jax.models.adapters.virtual import Virtual, added_axes, check_fits
from transformers_jax.nn.layers import names_of
from transformers_jax.nn.param import Axes, axes, flatten, params
from transformers_jax.spelling import closest


@dataclass(frozen=True)
class Target:
    """One tensor on disk that is adapted.

    Attributes:
        module: its name without `.weight`, as PEFT has it.
        rank: of its factors.
        strength: what they are multiplied with.
        scaled: of IA3, the side that is scaled.
    """

    module: str
    fill: Fill
    sides: Sides
    rank: int = 0
    strength: float = 1.0
    scaled: str = "outputs"


@dataclass(frozen=True)
class Resolved:
    """An adapter of a model: the tensors it adapts, and the parameters that are trained.

    Paths are those of the model with stacked layers.

    Attributes:
        fills: every tensor on disk, by the name that PEFT has for it.
        axes: of every parameter, by its path.
        whole: the parameters that are trained as a whole.
        added: the modules of virtual tokens, by their paths, and of which layers they are.
    """

    fills: Mapping[str, Fill]
    axes: Mapping[str, Axes]
    targets: tuple[Target, ...]
    whole: frozenset[str]
    added: Mapping[str, Axes]

    @functools.cached_property
    def by_path(self) -> dict[str, list[Target]]:
        """The targets of each adapted parameter."""
        places: dict[str, list[Target]] = {}
        for target in self.targets:
            for path in target.fill.row.ours:
                places.setdefault(path, []).append(target)
        return places

    @functools.cached_property
    def stacked(self) -> dict[str, tuple[str, int]]:
        """{name with the layer's number: (path, index along `layers`)}, which holds of every
        layout."""
        return {
            name: (path, index)
            for path, own in {**self.axes, **self.added}.items()
            for index, name in enumerate(names_of(path, own))
        }


def resolved(plan: Any, adapter: Adapter) -> Resolved:
    """What an adapter means in a model of a plan.

    Raises:
        ValueError: targets that fit nothing, with the nearest names; weights that have no two
            sides; embeddings that several towers read; a model without room for virtual tokens.
    """
    execution = dataclasses.replace(plan.execution, layers="stacked")
    return _resolved(dataclasses.replace(plan.uniform, execution=execution, adapter=None), adapter)


@functools.lru_cache(maxsize=64)
def _resolved(plan: Any, adapter: Adapter) -> Resolved:
    model = plan.build()
    named = flatten(axes(model))
    shapes = {path: leaf.shape for path, leaf in flatten(params(model)).items()}
    bare = plan.head == "none"
    fills = {
        plan.table.bare(name, fill.row.group) if bare else name: fill
        for name, fill in plan.table.fills(shapes).items()
    }
    family = f"{plan.config.model_type} ({plan.head})"
    if isinstance(adapter, Virtual):
        check_fits(model, adapter, family)
    whole = _whole(adapter, fills, named, family)
    targets: tuple[Target, ...] = ()
    if isinstance(adapter, (LoRA, IA3)):
        targets = tuple(_targets(adapter, fills, named, family))
        _check_tables(targets, model, family)
    if isinstance(adapter, LoRA) and adapter.bias != "none":
        modules = {f"{target.module}.bias" for target in targets}
        chosen = [n for n in fills if n.endswith(".bias")]
        chosen = [n for n in chosen if adapter.bias == "all" or n in modules]
        whole |= _paths(chosen, fills)
    return Resolved(fills, named, targets, frozenset(whole), added_axes(model, adapter))


# ---------------------------------------------------------------- what is trained as a whole


def _whole(
    adapter: Adapter, fills: Mapping[str, Fill], named: Mapping[str, Axes], family: str
) -> set[str]:
    """The paths of parameters that are trained as a whole."""
    learned = {path for path, own in named.items() if own.learned}
    saved = set[str]()
    for part in adapter.modules_to_save:
        inside = [name for name in fills if re.match(rf"(^|.*\.){re.escape(part)}($|\..*)", name)]
        if not inside and not adapter.file:  # PEFT adds names that only other families have
            modules = {name.rpartition(".")[0] for name in fills}
            raise ValueError(_unfit("modules_to_save", part, family, modules))
        saved |= _paths(inside, fills)
    if isinstance(adapter, BitFit):
        biases = [name for name in fills if name.endswith(".bias")]
        if not biases:
            raise ValueError(f"BitFit trains biases; {family} has none")
        return saved | _paths(biases, fills)
    if isinstance(adapter, (Freeze, Train)):
        return saved | _by_pattern(adapter, named, learned)
    return saved


def _by_pattern(adapter: Freeze | Train, named: Mapping[str, Axes], learned: set[str]) -> set[str]:
    fitting = set[str]()
    for pattern in adapter.paths:
        found = {p: fnmatch.filter(names_of(p, own), pattern) for p, own in named.items()}
        if not any(found.values()):
            names = [name for path, own in named.items() for name in names_of(path, own)]
            close = ", ".join(closest(pattern.replace("*", ""), names, most=3, cutoff=0.0))
            raise ValueError(f"{pattern!r} fits no parameter; the nearest are {close}")
        for path, layers in found.items():
            if layers and len(layers) < len(names_of(path, named[path])):
                raise ValueError(
                    f"{pattern!r} fits {len(layers)} of the {len(names_of(path, named[path]))} "
                    f"layers that {path} holds; what is frozen by the adapter is whole arrays: use "
                    "freeze= of an optimizer for single layers"
                )
            fitting |= {path} if layers else set()
    return learned - fitting if isinstance(adapter, Freeze) else learned & fitting


def _paths(names: Iterable[str], fills: Mapping[str, Fill]) -> set[str]:
    """The parameters in these tensors.

    Raises:
        ValueError: tensors of some of the layers (or experts) that one parameter holds.
    """
    chosen = set(names)
    paths = {path for name in chosen for path in fills[name].row.ours}
    beside = [n for n, fill in fills.items() if n not in chosen and paths & {*fill.row.ours}]
    if beside:
        raise ValueError(
            f"{min(chosen)} is trained as a whole and {beside[0]} is not, which are layers of one "
            "array: train it in all layers"
        )
    return paths


# ---------------------------------------------------------------- which weights are adapted


def _targets(
    adapter: LoRA | IA3, fills: Mapping[str, Fill], named: Mapping[str, Axes], family: str
) -> Iterable[Target]:
    weights = {
        name.removesuffix(".weight"): fill
        for name, fill in fills.items()
        if name.endswith(".weight")
    }
    parameters = adapter.parameters if isinstance(adapter, LoRA) else ()
    by_tensor = {
        name.removesuffix(".weight")
        for name in fills
        for end in parameters
        if name.endswith(".weight") and _ends(name, (end,))
    }
    if missing := [end for end in parameters if not any(_ends(name, (end,)) for name in fills)]:
        raise ValueError(_unfit("parameters", missing[0], family, fills))
    chosen = {m for m in weights if _is_target(adapter, m, weights[m], named)} | by_tensor
    _check_fits(adapter, chosen, weights, named, family)
    problems, targets = [], []
    for module in (m for m in weights if m in chosen):
        try:
            sides = sides_of(weights[module], named)
        except ValueError as error:
            problems.append(f"{module}: {error}")
            continue
        target = Target(module, weights[module], sides)
        if isinstance(adapter, IA3):
            inner = _matches(adapter.feedforward, module, weights[module], named)
            target = dataclasses.replace(target, scaled="inputs" if inner else "outputs")
        else:
            rank = _pattern(adapter.rank_pattern, module, adapter.rank)
            alpha = _pattern(adapter.alpha_pattern, module, adapter.alpha)
            strength = adapter.strength(rank, alpha)
            target = dataclasses.replace(target, rank=rank, strength=strength)
        targets.append(target)
    if problems:
        raise ValueError(f"{type(adapter).__name__} of {family}: " + "; ".join(problems))
    return targets


def _is_target(adapter: LoRA | IA3, module: str, fill: Fill, named: Mapping[str, Axes]) -> bool:
    if _matches(adapter.exclude, module, fill, named):
        return False
    saved = adapter.modules_to_save
    if any(re.match(rf"(^|.*\.){re.escape(part)}($|\..*)", module) for part in saved):
        return False
    if isinstance(adapter.targets, str) and adapter.targets.lower() == ALL_LINEAR:
        return is_linear(fill, named) and not is_output(fill) and _in_layers(adapter, module)
    return _matches(adapter.targets, module, fill, named) and _in_layers(adapter, module)


def _in_layers(adapter: LoRA | IA3, module: str) -> bool:
    """Whether the first number in a name is that of a layer to be adapted."""
    if not isinstance(adapter, LoRA) or adapter.layers is None:
        return True
    number = re.match(r".*?\.[^.]*\.(\d+)\.", f".{module}")
    return number is not None and int(number[1]) in adapter.layers


def _matches(names: Names, module: str, fill: Fill, named: Mapping[str, Axes]) -> bool:
    """Whether names on disk, a regular expression or patterns of our own paths fit a tensor."""
    patterns = (names,) if isinstance(names, str) else names
    if isinstance(names, str) and _regular(names, module):
        return True
    if not isinstance(names, str) and _ends(module, names):
        return True
    ours = _our_names(fill, named)
    fitting = [name for name in ours if any(fnmatch.fnmatchcase(name, p) for p in patterns)]
    if fitting and len(fitting) < len(ours):
        raise ValueError(
            f"{', '.join(fitting)}: part of {fill.canonical}, which holds {', '.join(ours)} and is "
            "adapted as a whole; name all of them, or the tensor"
        )
    return bool(fitting)


def _our_names(fill: Fill, named: Mapping[str, Axes]) -> list[str]:
    """Our names of the parameters in one tensor, with the number of its layer."""
    every = [names_of(path, named[path]) for path in fill.row.ours]
    return [names[fill.lead[0] if len(names) > 1 else 0] for names in every]


def _regular(pattern: str, module: str) -> bool:
    try:
        return re.fullmatch(pattern, module) is not None
    except re.error:
        return False


def _ends(name: str, ends: Iterable[str]) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in ends)


def _pattern(patterns: Iterable[tuple[str, Any]], module: str, default: Any) -> Any:
    """The value of the first pattern that fits the end of a name, as PEFT reads them."""
    fitting = (value for key, value in patterns if re.match(rf"(.*\.)?({key})$", module))
    return next(fitting, default)


def _check_fits(
    adapter: LoRA | IA3,
    chosen: set[str],
    weights: Mapping[str, Fill],
    named: Mapping[str, Axes],
    family: str,
) -> None:
    """Raises ValueError for targets that fit no weight; of a file, only if none does."""
    names = (adapter.targets,) if isinstance(adapter.targets, str) else adapter.targets
    if not adapter.file and ALL_LINEAR not in names:
        whole = isinstance(adapter.targets, str)
        for name in names:
            one = name if whole else (name,)
            if not any(_matches(one, m, fill, named) for m, fill in weights.items()):
                raise ValueError(_unfit("targets", name, family, weights))
    if not chosen:
        raise ValueError(_unfit("targets", adapter.targets, family, weights))


def _unfit(field: str, name: Any, family: str, modules: Iterable[str]) -> str:
    ends = {re.split(r"\.\d+\.", each)[-1] for each in modules}
    ends |= {each.rpartition(".")[2] for each in modules if not each.endswith(".weight")}
    close = closest(str(name), sorted(ends), most=5, cutoff=0.0)
    return f"{field}={name!r} fits nothing in {family}; the nearest are {', '.join(close)}"


def _check_tables(targets: Iterable[Target], model: Any, family: str) -> None:
    """Refuses token embeddings of which several towers make their tokens."""
    shared = len(getattr(model, "wires", ())) > 1
    for target in targets:
        path = target.fill.row.ours[0]
        if shared and target.sides.table and path.endswith("embed.table"):
            raise ValueError(
                f"{target.module} of {family}: several towers may read these embeddings under "
                "other names, of which PEFT would adapt one; train them as a whole "
                f"(modules_to_save=({target.module.rpartition('.')[2]!r},))"
            )
