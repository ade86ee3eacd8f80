"""What attention weights, tables of positions and filters say, as numbers: functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transformers_jax.arrays import Float


def rollout(weights: Sequence[Float[np.ndarray, "B H T T"]]) -> Float[np.ndarray, "B T T"]:
    """How much of each input token is in each output token, if all that layers do is mix tokens.

    Heads are averaged; the residual connection is half of a layer, A = (W + I) / 2, each of whose
    rows is 1 again where a token attends to none; layers are multiplied from the first to the last.

    Args:
        weights: of the layers, the first one first.

    Raises:
        ValueError: no layer, or weights that do not lead from the tokens to the same tokens.

    Source: Abnar and Zuidema 2020, "Attention Rollout"; Dosovitskiy et al. 2020, appendix D.8.
    """
    shapes = {np.shape(each) for each in weights}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 4 or shape[2] != shape[3]:
        came = ", ".join(str(np.shape(each)) for each in weights) or "none"
        raise ValueError(
            f"rollout needs the weights [B H T T] of layers over the same tokens; {came} came"
        )
    identity = np.eye(shape[3])
    whole = np.broadcast_to(identity, (shape[0], *identity.shape))
    for each in weights:
        mixed = np.asarray(each, np.float64).mean(1) + identity
        whole = mixed / mixed.sum(-1, keepdims=True) @ whole
    return whole


def attention_distance(
    weights: Float[np.ndarray, "B H T S"],
    queries: Float[np.ndarray, "T 2"],
    keys: Float[np.ndarray, "S 2"] | None = None,
) -> Float[np.ndarray, " H"]:
    """How far, on average, the tokens of a picture attend: the distance between a query and its
    keys, weighted by attention, as a mean over queries and pictures. It is to attention what the
    size of a receptive field is to a convolution.

    Args:
        weights: of the tokens that have a place, from those to those. Rows are made 1; one without
            any weight does not count.
        queries, keys: (row, column) of each token, in the unit of the answer; keys are the queries
            if not given.

    Source: Dosovitskiy et al. 2020, figure 7 (right) and appendix D.7.
    """
    keys = queries if keys is None else keys
    apart = np.linalg.norm(queries[:, None].astype(np.float64) - keys[None], axis=-1)
    weights = np.asarray(weights, np.float64)
    total = weights.sum(-1)
    far = (weights * apart).sum(-1) / np.where(total > 0, total, 1)
    there = (total > 0).sum((0, 2))
    return np.where(total > 0, far, 0).sum((0, 2)) / np.maximum(there, 1)


def similarity(table: Float[np.ndarray, "P D"]) -> Float[np.ndarray, "P P"]:
    """The cosine similarity of each row of a table with each other; that of a row of zeros is 0.

    Source: of position embeddings, Dosovitskiy et al. 2020, figure 7 (middle).
    """
    table = np.asarray(table, np.float64)
    length = np.linalg.norm(table, axis=-1, keepdims=True)
    units = table / np.where(length > 0, length, 1)
    return units @ units.T


def principal(filters: Float[np.ndarray, "N p q C"], count: int) -> Float[np.ndarray, "n p q C"]:
    """The `count` principal components of filters, or as many as there are, the largest first:
    orthogonal, each of length 1, in the shape of a filter. Filters are not centred: what is the
    same in all of them is one of the components.

    Source: of the embedding of patches, Dosovitskiy et al. 2020, figure 7 (left).
    """
    flat = np.asarray(filters, np.float64).reshape(len(filters), -1)
    _, _, directions = np.linalg.svd(flat, full_matrices=False)
    return directions[:count].reshape(-1, *filters.shape[1:])
