"""Passes over texts with masks: which tokens are proposed, and which of the proposals stay."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import MASKED, Array, Bool, Float, Int, Key, Params, wide
from transformers_jax.nn.param import merge
from transformers_jax.objectives.diffusion import NOISED

Order = Literal["confidence", "random"]


@dataclass(frozen=True)
class Plan:
    """What decides the program.

    Attributes:
        block: tokens that are written before those behind them.
        steps: most passes over the tokens of a block; None: one for each.
        mask: the mask token.
        marks: whether the model's mask compares the tag `NOISED`.
    """

    block: int
    steps: int | None
    order: Order
    do_sample: bool
    mask: int
    marks: bool


class Rows(NamedTuple):
    """Rows whose text begins in the first column, with masks where it is to be written.

    Attributes:
        hidden: where a token is to be written.
        length: tokens of each, new ones included.
    """

    ids: Int[Any, "B T"]
    hidden: Bool[Any, "B T"]
    length: Int[Any, " B"]


class State(NamedTuple):
    """Rows between two passes.

    Attributes:
        hidden: where a token is still to be written.
        when: the pass in which each token was written, from 1 on; 0: it was given.
        passes: how many there were.
    """

    ids: Int[Array, "B T"]
    hidden: Bool[Array, "B T"]
    when: Int[Array, "B T"]
    passes: Int[Array, ""]


@functools.partial(jax.jit, static_argnums=5)
def run(
    definition: Any,
    params: Params,
    rows: Rows,
    temperature: Float[Array, ""],
    key: Key | None,
    plan: Plan,
) -> State:
    """Passes over the rows until nothing is hidden. A row goes on by itself: which block it writes,
    and how many tokens stay in a pass, follows from what is written of it."""
    model = merge(definition, params)
    columns = rows.ids.shape[1]
    column = jnp.arange(columns, dtype=jnp.int32)
    valid, block = column < rows.length[:, None], column // plan.block
    blocks = -(-columns // plan.block)
    counts = jnp.stack([(rows.hidden & (block == n)).sum(1) for n in range(blocks)], axis=1)

    def step(state: State) -> State:
        first = jnp.where(state.hidden, block, blocks).min(1)  # `blocks`: nothing is left
        current = block == first[:, None]
        active = state.hidden & current
        whole = jnp.take_along_axis(counts, first[:, None], axis=1, mode="fill", fill_value=1)[:, 0]
        passes = whole if plan.steps is None else jnp.minimum(plan.steps, whole)
        done = whole - active.sum(1)
        goal = -(-whole * (done * passes // whole + 1) // passes)
        tags = {"tags": {NOISED: current.astype(jnp.int32)}} if plan.marks else {}
        output = model(input_ids=state.ids, attention_mask=valid.astype(jnp.int32), **tags)
        logits = output["logits"] if "logits" in output else output["prediction_logits"]
        logits = logits.astype(wide(logits)).at[..., plan.mask].set(MASKED)
        token, sure = _proposed(logits, temperature, _keys(key, state), plan)
        best = jnp.argsort(jnp.where(active, -sure, jnp.inf), axis=1, stable=True)
        rank = jnp.argsort(best, axis=1)
        kept = active & (rank < (goal - done)[:, None])
        passed = state.passes + 1
        return State(
            jnp.where(kept, token, state.ids),
            state.hidden & ~kept,
            jnp.where(kept, passed, state.when),
            passed,
        )

    none = jnp.zeros(rows.ids.shape, jnp.int32)
    begun = State(rows.ids, rows.hidden, none, jnp.int32(0))
    return jax.lax.while_loop(lambda state: state.hidden.any(), step, begun)


def _keys(key: Key | None, state: State) -> Any:
    """A key for each token of each row in this pass, so that neither other rows nor the width of
    the batch change what is drawn; None where nothing is."""
    if key is None:
        return None
    key = jax.random.fold_in(key, state.passes)
    of = lambda row, column: jax.random.fold_in(jax.random.fold_in(key, row), column)
    rows, columns = (jnp.arange(size) for size in state.ids.shape)
    return jax.vmap(lambda row: jax.vmap(lambda column: of(row, column))(columns))(rows)


def _proposed(
    logits: Float[Array, "B T V"], temperature: Float[Array, ""], keys: Any, plan: Plan
) -> tuple[Int[Array, "B T"], Float[Array, "B T"]]:
    """(a token for every column, which of them stay first: those with the largest numbers)."""
    each = lambda draw, *arrays: jax.vmap(jax.vmap(draw))(*arrays)
    if plan.do_sample:
        token = each(jax.random.categorical, keys, logits / temperature)
    else:
        token = logits.argmax(-1)
    token = token.astype(jnp.int32)
    if plan.order == "random":
        return token, each(lambda key: jax.random.uniform(jax.random.fold_in(key, 1)), keys)
    likely = jax.nn.log_softmax(logits, axis=-1)
    return token, jnp.take_along_axis(likely, token[..., None], axis=-1)[..., 0]
