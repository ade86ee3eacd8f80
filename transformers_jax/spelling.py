"""Words of messages: the nearest of the known names to an unknown one, and what a value is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

NOTHING: Mapping[str, str] = MappingProxyType({})


def closest(name: str, names: Iterable[str], *, most: int = 1, cutoff: float = 0.55) -> list[str]:
    """At most `most` of the names, the nearest first; capitals count as small letters.

    `cutoff` is the least similarity, between 0 and 1 (twice the letters in common blocks over all
    letters of both).
    """
    spelled: dict[str, str] = {}
    for known in names:
        spelled.setdefault(known.casefold(), known)
    matches = difflib.get_close_matches(name.casefold(), list(spelled), n=most, cutoff=cutoff)
    return [spelled[folded] for folded in matches]


def nearest(
    name: str,
    names: Iterable[str],
    *,
    most: int = 1,
    prefix: str = "",
    cutoff: float = 0.55,
    otherwise: Mapping[str, str] = NOTHING,
) -> str:
    """ "; did you mean 'n_layer'?", or "; did you mean 'bart', 'bert' or 'mbart'?", or nothing.

    `otherwise` are names of other libraries, and what to do here instead.
    """
    if name in otherwise:
        return f"; {otherwise[name]}"
    quoted = [repr(prefix + known) for known in closest(name, names, most=most, cutoff=cutoff)]
    if not quoted:
        return ""
    listed = ", ".join(quoted[:-1]) + " or " + quoted[-1] if quoted[1:] else quoted[0]
    return f"; did you mean {listed}?"


def type_name(value: Any) -> str:
    """What a value is, for messages: "nothing", or the name of its type."""
    return "nothing" if value is None or value == "" else type(value).__name__
