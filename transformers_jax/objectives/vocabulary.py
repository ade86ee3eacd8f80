"""What an objective must know of a tokenizer: sizes and ids, and no tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from transformers_jax.arrays import Bool, Int

ROLES = tuple("pad unk bos eos cls sep mask fim_prefix fim_middle fim_suffix".split())
"""What a special token can be for."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The ids of a tokenizer by what they are for.

    Raises:
        ValueError: if an id lies outside [0, size), a role is unknown, a sentinel or mode token
            shares its id with another, or `continues` has another length than size.
    """

    size: int
    """rows of the embedding table; ids lie in [0, size)"""
    special: Mapping[str, int] = field(default_factory=dict)
    """role -> id; roles may share an id (GPT-2's bos and eos), a role may be absent"""
    sentinels: tuple[int, ...] = ()
    """ids of <extra_id_0>, <extra_id_1>, ...: what replaces corrupted spans, in order"""
    modes: Mapping[str, int] = field(default_factory=dict)
    """UL2's mode tokens: "R", "S", "X" -> id"""
    continues: Bool[np.ndarray, " V"] | None = None
    """True: the token continues the word of the one before it; None: not known"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sentinels", tuple(int(i) for i in self.sentinels))
        wrong = [
            f"{role!r} is no role (there are {', '.join(ROLES)})"
            for role in self.special
            if role not in ROLES
        ]
        ids = [*self.special.items(), *self.modes.items()]
        ids += [(f"sentinel {n}", i) for n, i in enumerate(self.sentinels)]
        outside = [(name, i) for name, i in ids if not 0 <= i < self.size]
        wrong += [f"{name}: id {i} is not in [0, {self.size})" for name, i in outside]
        distinct = [*self.sentinels, *self.modes.values()]
        shared = sorted(
            {i for i in distinct if distinct.count(i) > 1 or i in self.special.values()}
        )
        if shared:
            wrong.append(f"sentinels and modes need ids of their own; shared: {shared}")
        if self.continues is not None and np.shape(self.continues) != (self.size,):
            wrong.append(f"continues has shape {np.shape(self.continues)}, not ({self.size},)")
        if wrong:
            raise ValueError("this vocabulary contradicts itself: " + "; ".join(wrong))

    def need(self, role: str) -> int:
        """The id of a special token.

        Raises:
            ValueError: if the tokenizer has no token for the role.
        """
        self.require("this objective", roles=(role,))
        return self.special[role]

    def require(
        self,
        who: str,
        *,
        roles: tuple[str, ...] = (),
        sentinels: int = 0,
        modes: tuple[str, ...] = (),
    ) -> None:
        """Checks that all that `who` needs is there.

        Raises:
            ValueError: naming everything that is missing, what there is, and the remedy.
        """
        missing = [f"the special token {role!r}" for role in roles if role not in self.special]
        missing += [f"the mode token {mode!r}" for mode in modes if mode not in self.modes]
        if sentinels > len(self.sentinels):
            missing.append(f"{sentinels} sentinels (<extra_id_0>, ...)")
        if missing:
            raise ValueError(
                f"{who} needs {', '.join(missing)}; this vocabulary has the special tokens "
                f"{sorted(self.special)}, {len(self.sentinels)} sentinels and the modes "
                f"{sorted(self.modes)}: choose a tokenizer that has them, learn one in the run, "
                "or add them to the tokenizer and name their roles"
            )

    @cached_property
    def is_ordinary(self) -> Bool[np.ndarray, " V"]:
        """True for ids that are neither special, sentinel nor mode."""
        ordinary = np.ones(self.size, bool)
        ordinary[[*self.special.values(), *self.sentinels, *self.modes.values()]] = False
        return ordinary

    @cached_property
    def ordinary(self) -> Int[np.ndarray, " n"]:
        """The ids that are neither special, sentinel nor mode: random tokens are drawn from them.

        Raises:
            ValueError: if there are none.
        """
        ordinary = np.flatnonzero(self.is_ordinary).astype(np.int32)
        if not len(ordinary):
            raise ValueError(f"all {self.size} ids of this vocabulary are special tokens")
        return ordinary
