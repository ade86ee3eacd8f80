"""How many of the likeliest contacts of a protein are some."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float


def contact_precision(
    scores: Float[np.ndarray, "L L"],
    contacts: Iterable[tuple[int, int]],
    count: int | None = None,
    apart: int = 6,
) -> float:
    """The share of contacts among the pairs of residues with the highest scores.

    Args:
        scores: of each pair, symmetric; such as those of `predict_contacts`.
        contacts: the pairs that touch.
        count: of the pairs that are looked at; by default L, which is the "precision at L".
        apart: pairs that are nearer in the chain do not count (Rao et al. 2020, section 4: 6).

    Raises:
        ValueError: scores that are no square, or fewer pairs than are to be looked at.
    """
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
        raise ValueError(f"scores of pairs are a square [L L]; {list(scores.shape)} came")
    first, second = np.triu_indices(len(scores), apart)
    count = len(scores) if count is None else count
    if not 0 < count <= len(first):
        raise ValueError(
            f"{len(first)} pairs of {len(scores)} residues are {apart} apart or more, and the "
            f"likeliest {count} are asked for"
        )
    best = np.argsort(-scores[first, second], kind="stable")[:count]
    true = {(min(pair), max(pair)) for pair in contacts}
    return float(np.mean([(first[n], second[n]) in true for n in best]))
