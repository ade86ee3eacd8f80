"""`coevolution`: proteins of an invented family, whose contacts are known.

Every place has letters of its own that it prefers, and some pairs of places touch: what stands at
one decides what may stand at the other, as charges, oils and thiols do. That is a Potts model
(Weigt et al. 2009) whose pairs are disjoint, so that sequences are drawn from it exactly.
`independent` are sequences in which each place has the same letters as often, and no pair touches.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from transformers_jax.arrays import Float

LENGTH, TOUCHING, APART, SIZE = 40, 16, 6, 6000
"""Residues of a protein, pairs that touch, how far they are apart at least, and how many proteins
there are."""
LETTERS = "ACDEFGHIKLMNPQRSTVWY"
KINDS = ("KRH", "DE", "AVLIMFWP", "STNQGY", "C")
"""Letters that do the same: positive, negative, oily, polar, and the one that binds itself."""
PARTNERS = ((0, 1), (1, 0), (2, 2), (3, 3), (4, 4))
STRENGTH, PREFERENCE = 3.0, 0.7
"""Of a pair that fits, in nats; the deviation of what places prefer."""
SHARES = (0.9, 0.95)
"""Where in the order of proteins validation and test begin."""


@functools.cache
def contacts() -> tuple[tuple[int, int], ...]:
    """The pairs of places that touch; no place touches two."""
    rng, found = np.random.default_rng(1), list[tuple[int, int]]()
    while len(found) < TOUCHING:
        free = sorted({*range(LENGTH)} - {place for pair in found for place in pair})
        a, b = sorted(rng.choice(free, 2, replace=False).tolist())
        if b - a >= APART:
            found.append((a, b))
        elif max(free) - min(free) < APART:
            found.clear()
    return tuple(sorted(found))


def _fits() -> Float[np.ndarray, "20 20"]:
    """1 for letters of kinds that go together."""
    kind = np.array([next(n for n, of in enumerate(KINDS) if one in of) for one in LETTERS])
    together = np.zeros((len(KINDS), len(KINDS)))
    together[tuple(zip(*PARTNERS, strict=True))] = 1
    return together[kind[:, None], kind[None]]


@functools.cache
def _drawn(coupled: bool) -> tuple[str, ...]:
    """All proteins; uncoupled ones have the same letters at each place as often."""
    rng = np.random.default_rng(2)
    prefers = PREFERENCE * rng.normal(size=(LENGTH, len(LETTERS)))
    letters = np.empty((SIZE, LENGTH), int)
    alone = set(range(LENGTH)) - {place for pair in contacts() for place in pair}
    for place in sorted(alone):
        letters[:, place] = _draw(rng, prefers[place])
    for a, b in contacts():
        both = prefers[a][:, None] + prefers[b][None] + STRENGTH * _fits()
        letters[:, a], letters[:, b] = np.divmod(_draw(rng, both.reshape(-1)), len(LETTERS))
        if not coupled:
            letters[:, b] = rng.permutation(letters[:, b])
    return tuple("".join(LETTERS[one] for one in row) for row in letters)


def _draw(rng: np.random.Generator, energy: Float[np.ndarray, " N"]) -> np.ndarray:
    """So many numbers, each with a probability of its own."""
    shares = np.exp(energy - energy.max())
    return rng.choice(len(energy), SIZE, p=shares / shares.sum())


def records(split: str, coupled: bool = True) -> list[dict[str, Any]]:
    """The records of a split: `text`, a protein."""
    edges = dict(train=(0.0, SHARES[0]), validation=SHARES, test=(SHARES[1], 1.0))[split]
    first, last = (round(SIZE * share) for share in edges)
    return [{"text": protein} for protein in _drawn(coupled)[first:last]]
