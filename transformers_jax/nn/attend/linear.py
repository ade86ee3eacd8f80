"""Attention in time and memory linear in the tokens, where weights are products of feature maps.

    weight[t, s] = phi(q_t) . phi(k_s) / sum over the edges of t           phi(x) = elu(x) + 1
    output[t]    = phi(q_t) . A_t / phi(q_t) . b_t
    A_t          = sum over the edges of t of phi(k_s) v_s^T               b_t likewise, of phi(k_s)

Katharopoulos et al. 2020, equations 4 to 9. The sums are K x U numbers of a head, however many keys
there are, and a query needs no more of them. One sum must serve many queries, though, which it does
where the edges of a query are all keys in front of it in some order: all keys (`Full`), those of
its document (`Same`), those that do not come after it (`Before`), and conjunctions of these. A
window would have to take keys out of the sum again: it is refused, as is every other graph.

Tokens are put in that order, documents one after the other, and are read in chunks: within one
there are scores, and of all chunks before it the sums alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float, Int, is_symbolic, wide
from transformers_jax.graph import Before, Edges, Full, Mask, Nodes, Same
from transformers_jax.graph.lower import Refused, conjuncts
from transformers_jax.nn.attend import reference
from transformers_jax.nn.attend.score import ScoreRule, Weighting

CHUNK = 64
"""Tokens within which scores are made."""

FEW = 16
"""So few queries, as in a step of decoding, are rows of the plain matrix."""


def features(x: Float[Array, "b t H K"]) -> Float[Array, "b t H K"]:
    """phi: what weights are products of, above 0; in float32."""
    return jax.nn.elu(x.astype(wide(x))) + 1


@dataclass(frozen=True)
class KernelRule(ScoreRule):
    """score[h, t, s] = log(phi(q[t, h]) . phi(k[s, g])) in place of the scaled product, g being the
    key/value head of h: softmax of it is the weight above, so that every engine computes it, along
    every graph, and `linear` in linear time where it can."""

    replaces = True
    engine = "linear"

    def __call__(self, params, q, k, qn: Nodes, kn: Nodes, pairs) -> Float[Array, "b H t s"]:
        (b, t, H, K), (s, G) = q.shape, k.shape[1:3]
        groups = features(q).reshape(b, t, G, H // G, K)
        products = jnp.einsum("btgrk,bsgk->bgrts", groups, features(k)).reshape(b, H, t, s)
        return jnp.log(jnp.maximum(products, jnp.finfo(products.dtype).tiny))


@dataclass(frozen=True)
class Order:
    """The order in which every query attends to all keys in front of it.

    Attributes:
        segments: the tags that agree: tokens with the same values stand together.
        before: the tag by whose value these are in order; None: all keys come first.
    """

    segments: tuple[str, ...]
    before: str | None


def order_of(mask: Mask) -> Order:
    """The order of tokens that a mask is.

    Raises:
        Refused: naming the part of the mask that makes it another graph.
    """
    segments, before = set(), set()
    for part in conjuncts(mask):
        match part:
            case Full():
                continue
            case Same(tag):
                segments.add(tag)
            case Before(tag):
                before.add(tag)
            case _:
                raise Refused(
                    f"{part} takes keys out of a sum; it adds them, by Full, Before, Same"
                )
        if len(before) > 1:
            raise Refused(f"{' and '.join(sorted(before))} are two orders of its tokens, not one")
    return Order(tuple(sorted(segments)), next(iter(before), None))


def is_order(mask: Mask) -> bool:
    """Whether a mask is an order of tokens."""
    try:
        return bool(order_of(mask))
    except Refused:
        return False


def attend(q, k, v, edges: Edges, **options) -> Float[Array, "B T H U"]:
    """`nn.attend.attend` where weights are products of feature maps (`spec.Kernel`)."""
    weighting = Weighting(**options)
    _refuse(weighting, edges)
    order, (B, T, H, _), G = order_of(edges.mask), q.shape, k.shape[2]
    if T <= FEW:
        return reference.attend(q, k, v, edges, **options)
    asked, keys = features(q).reshape(B, T, G, H // G, -1), features(k)
    if edges.k.valid is not None:
        keys = jnp.where(edges.k.valid[:, :, None, None], keys, 0)
    values = v.astype(keys.dtype)
    values = jnp.concatenate([values, jnp.ones_like(values[..., :1])], -1)  # b_t is the last of A_t
    if order == Order((), None):
        sums = jnp.einsum("bsgk,bsgu->bgku", keys, values)
        out = jnp.einsum("btgrk,bgku->btgru", asked, sums)
    else:
        out = _in_order(asked, keys, values, edges, order)
    out = out.reshape(B, T, H, -1)
    total = out[..., -1:]
    if weighting.sinks is not None:
        total = total + jnp.exp(weighting.sinks.astype(total.dtype))[:, None]
    return (out[..., :-1] / jnp.where(total > 0, total, 1)).astype(q.dtype)


def _refuse(weighting: Weighting, edges: Edges) -> None:
    """Raises `Refused` for what is not a sum over keys."""
    score = weighting.score
    if score is None or not isinstance(score.rule, KernelRule):
        what = "scaled products" if score is None else type(score.rule).__name__
        raise Refused(f"weights are products of feature maps (spec.Kernel), not softmax of {what}")
    if weighting.softcap is not None:
        raise Refused("it has no scores that a soft cap could bound")
    if weighting.drops:
        raise Refused("it has no weights that dropout could drop; give the attention dropout=0")
    if weighting.message is not None:
        raise Refused("edges add nothing to the values that it sums")
    if is_symbolic(*edges.shape):
        raise Refused(f"tokens are read in chunks of lengths that are known, not {edges.shape}")


# ---------------------------------------------------------------- tokens in their order


def _in_order(
    asked: Float[Array, "B T G R K"],
    keys: Float[Array, "B S G K"],
    values: Float[Array, "B S G U"],
    edges: Edges,
    order: Order,
) -> Float[Array, "B T G R U"]:
    """The sums of each query over the keys in front of it in its segment."""
    q, k, names = edges.q, edges.k, [*order.segments]
    both = [*names, order.before] if order.before else names
    if order.before == "index" and all(q.tag(name) is k.tag(name) for name in both):
        # a query is its own last key
        place, segment = _sorted([k.tag("index")], [k.tag(name) for name in names])
        asked, keys, values = (_taken(x, place) for x in (asked, keys, values))
        out = _read(asked, keys, values, segment)
        return _taken(out, None if place is None else _argsort(place))
    # keys and queries in one row, each without what the other is; equals: keys come first
    T, S = edges.shape
    join = lambda name: _joined(k.tag(name), q.tag(name))
    after = np.repeat(np.array([[0, 1]], np.int32), [S, T], 1)
    within = [after] if order.before is None else [after, join(order.before)]
    place, segment = _sorted(within, [join(name) for name in names])
    fill = lambda x, front, behind: jnp.pad(x, [(0, 0), (front, behind), *[(0, 0)] * (x.ndim - 2)])
    row = fill(asked, S, 0), fill(keys, 0, T), fill(values, 0, T)
    asked, keys, values = (_taken(x, place) for x in row)
    out = _read(asked, keys, values, segment)
    return out[:, S:] if place is None else _taken(out, _argsort(place)[:, S:])


def _sorted(
    within: list[Any], segments: list[Any]
) -> tuple[Int[Array, "b n"] | None, Int[Array, "b n"] | None]:
    """(places of tokens in their order, None where they stand in it; the numbers of their segments,
    None where there is one). What comes last in `within` is compared first."""
    known = all(isinstance(x, np.ndarray) for x in (*within, *segments))
    numpy: Any = np if known else jnp
    arrays = numpy.broadcast_arrays(*within, *segments)
    place = numpy.lexsort(tuple(arrays), axis=-1)
    segment = None
    for tag in arrays[len(within) :]:
        tag = numpy.take_along_axis(tag, place, 1)
        begins = numpy.pad(tag[:, 1:] != tag[:, :-1], [(0, 0), (1, 0)])
        segment = begins if segment is None else segment | begins
    stands = known and (place == np.arange(place.shape[1])).all()
    return None if stands else place, None if segment is None else segment.cumsum(1)


def _joined(a: Int[Array, "b S"], b: Int[Array, "b T"]) -> Int[Array, "b S+T"]:
    """Tags of keys and of queries in one row."""
    numpy: Any = np if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) else jnp
    rows = max(a.shape[0], b.shape[0])
    return numpy.concatenate([numpy.broadcast_to(x, (rows, x.shape[1])) for x in (a, b)], 1)


def _argsort(place: Any) -> Any:
    """Where the tokens of a row that was put in order stand."""
    return np.argsort(place, 1) if isinstance(place, np.ndarray) else jnp.argsort(place, 1)


def _taken(x: Float[Array, "B n ..."], place: Int[Array, "b m"] | None) -> Float[Array, "B m ..."]:
    """The tokens of these places."""
    if place is None:
        return x
    return jnp.take_along_axis(x, place.reshape(*place.shape, *[1] * (x.ndim - 2)), 1)


def _read(
    asked: Float[Array, "B n G R K"],
    keys: Float[Array, "B n G K"],
    values: Float[Array, "B n G U"],
    segment: Int[Array, "b n"] | None,
) -> Float[Array, "B n G R U"]:
    """The sum of each token over itself and those in front of it in its segment, chunk by chunk."""
    B, n, G, _, K = asked.shape
    if segment is None:
        segment = np.zeros((1, n), np.int32)
    chunk = min(CHUNK, n)
    earlier = np.tri(chunk, dtype=bool)

    def cut(x: Any, mode: Any = "constant") -> Array:
        x = jnp.pad(x, [(0, 0), (0, -n % chunk), *[(0, 0)] * (x.ndim - 2)], mode=mode)
        return jnp.moveaxis(x.reshape(x.shape[0], -1, chunk, *x.shape[2:]), 1, 0)

    def step(carry: Any, part: Any) -> Any:
        (sums, open), (q, k, v, own) = carry, part  # `open` is the segment that the sums are of
        allowed = earlier & (own[:, :, None] == own[:, None, :])
        inner = jnp.einsum("btgrk,bsgk->bgrts", q, k)
        inner = jnp.where(allowed[:, None, None], inner, 0)
        out = jnp.einsum("bgrts,bsgu->btgru", inner, v)
        continues = (own == open)[:, :, None, None, None]
        out = out + jnp.where(continues, jnp.einsum("btgrk,bgku->btgru", q, sums), 0)
        last = own[:, -1:]
        new = jnp.einsum("bsgk,bsgu->bgku", jnp.where((own == last)[..., None, None], k, 0), v)
        kept = jnp.where((last == open)[..., None, None], sums, 0)
        return (kept + new, last), out

    first = jnp.zeros((B, G, K, values.shape[-1]), values.dtype), jnp.asarray(segment[:, :1])
    parts = cut(asked), cut(keys), cut(values), cut(segment, "edge")
    out: Array = jax.lax.scan(step, first, parts)[1]
    return jnp.moveaxis(out, 0, 1).reshape(B, -1, *out.shape[3:])[:, :n]
