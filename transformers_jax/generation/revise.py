"""Text that is revised instead of committed: masks become words, in any order.

A model of masked words reads a row in which some tokens are masks, and proposes a word for each. A
few proposals stay, the surest or random ones; then it reads the row again. What was given, in front
of the masks, between them or behind, is never changed. Blocks, if there are any, are written from
left to right.

Sources: Nie et al. 2025 (LLaDA), section 2.4 (low-confidence remasking, blocks); Sahoo et al. 2024
(MDLM), section 3.2; Arriola et al. 2025 (block diffusion), section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Int, Key, check_key, ordinary
from transformers_jax.generation.revise_rows import output_of, read, rows_of, texts_of
from transformers_jax.generation.revise_steps import Order, Plan, run
from transformers_jax.generation.tags import needed_tags
from transformers_jax.graph import Block
from transformers_jax.inputs import checks
from transformers_jax.models.base import Model, check_model
from transformers_jax.models.output import Output
from transformers_jax.nn.param import split
from transformers_jax.objectives.diffusion import NOISED
from transformers_jax.sizes import check_count
from transformers_jax.spelling import nearest
from transformers_jax.together import check_together

ORDERS = ("confidence", "random")
HEADS = ("masked_lm", "pretraining")


@overload
def revise(
    model: Model, input_ids: Any = None, *, return_dict_in_generate: Literal[True], **options: Any
) -> Output: ...
@overload
def revise(
    model: Model,
    *,
    texts: str | Sequence[str],
    return_dict_in_generate: Literal[False] = False,
    **options: Any,
) -> list[str]: ...
@overload
def revise(
    model: Model,
    input_ids: Any = None,
    *,
    return_dict_in_generate: Literal[False] = False,
    **options: Any,
) -> Int[Array, "B T"]: ...
@ordinary()
def revise(
    model: Any,
    input_ids: Int[Any, "B T"] | None = None,
    *,
    texts: str | Sequence[str] | None = None,
    attention_mask: Int[Any, "B T"] | None = None,
    tokenizer: Any = None,
    max_new_tokens: int = 0,
    steps: int | None = None,
    block_length: int | None = None,
    order: Order = "confidence",
    do_sample: bool = False,
    temperature: float = 1.0,
    mask_token_id: int | None = None,
    key: Key | None = None,
    return_dict_in_generate: bool = False,
) -> Int[Array, "B T"] | Output | list[str]:
    """Writes the masks of a text, some in each pass, by a model of masked words.

    Masks may stand anywhere in the prompt (infilling), and `max_new_tokens` of them are put behind
    it. All other tokens stay as they are. The first call compiles; others with prompts of the same
    bucket reuse the program. A row's text does not depend on the other rows.

    Args:
        texts: a text or several, in place of ids, to which the tokenizer adds its special tokens;
            new tokens come in front of those at its end ([SEP]).
        attention_mask: 0 for padding, on either side; by default pad tokens at the ends of a row.
        tokenizer: the model's, which `texts` need; it names the mask token as well.
        steps: passes in which a block is written, as evenly as it goes; by default one for each
            token. With fewer, tokens of one pass do not know of one another.
        block_length: so many tokens, counted from the first of a row, are written before those
            behind them; by default the whole row is one block. A model of `BlockDiffusion` has
            blocks of its own.
        order: of the tokens of a block: those of whose proposal the model is surest
            ("confidence"), or "random" ones, which draws from the model's own distribution.
        do_sample: propose tokens that are drawn, not the likeliest ones.
        temperature: divides the scores that tokens are drawn by.
        mask_token_id: the mask token, where neither tokenizer nor config name it.
        key: a `jax.random.key`, needed if something is drawn; same key, same text.
        return_dict_in_generate: return an `Output` with `sequences`, `steps` (Int[B T]: the pass in
            which each token was written, 0 where it was given), `new_tokens` (how many were
            written, of each row), `lengths` (of the rows) and, of texts, `texts`.

    Raises:
        TypeError: for what is no model.
        ValueError: a model that predicts no masked tokens, or whose mask compares tags of the
            caller's; nothing to write; values out of range.

    Shapes: Int[B, width], whose rows begin in the first column and are as long as the longest
        prompt with its new tokens; or a list of whole texts.
    """
    vocabulary = _check_model(model)
    _check_options(steps, block_length, order, do_sample, temperature, key)
    check_count("max_new_tokens", max_new_tokens, least=0)
    mask = _mask_token(model, tokenizer, mask_token_id, vocabulary)
    new = max_new_tokens
    if texts is not None:
        if input_ids is not None or attention_mask is not None:
            raise ValueError("texts are prompts, and so are input_ids: pass one of them")
        input_ids, attention_mask = rows_of(model, tokenizer, texts, mask, new)
        new = 0
    rows, width = read(model, input_ids, attention_mask, mask, new, vocabulary)
    plan = Plan(
        block=_block(model, block_length) or rows.ids.shape[1],
        steps=steps,
        order=order,
        do_sample=do_sample,
        mask=mask,
        marks=_own_block(model) is not None,
    )
    drawn = jnp.float32(temperature), key if do_sample or order == "random" else None
    state = run(*split(model), jax.tree.map(jnp.asarray, rows), *drawn, plan)
    fields = output_of(state, rows, width)
    if texts is not None:
        fields["texts"] = texts_of(model, tokenizer, fields, rows)
    if return_dict_in_generate:
        return Output(**fields)
    return fields["sequences"] if texts is None else fields["texts"]


# ---------------------------------------------------------------- what is asked for


def _check_model(model: Any) -> int:
    """The size of the vocabulary of a model of masked words.

    Raises:
        TypeError: what is no model.
        ValueError: a model with another head, or one whose masks need tags that nobody gives.
    """
    check_model(model, "revise")
    head = getattr(model.plan, "head", None)
    if head not in HEADS:
        fitting = [name for name in HEADS if name in set(model.config.HEADS.values())]
        advice = (
            f"load it with head={fitting[0]!r}"
            if fitting
            else "tj.generate continues texts"
            if model.reading.writes
            else "no head of its family does"
        )
        raise ValueError(
            f"revise needs a model that predicts masked tokens, but this "
            f"{model.config.model_type} has head {head!r}; {advice}"
        )
    if missing := sorted(needed_tags(model.reading) - {NOISED}):
        raise ValueError(
            f"the model's mask ({model.reading.masks[0]}) compares the tag {missing[0]!r}, and "
            "revise writes rows of one text each; take another mask (model.with_mask(None) is the "
            "model's own)"
        )
    return int(model.config.vocab_size)


def _check_options(
    steps: Any, block_length: Any, order: Any, do_sample: bool, temperature: Any, key: Any
) -> None:
    """Raises ValueError for values out of range, and for a key that is missing."""
    for name, value in (("steps", steps), ("block_length", block_length)):
        if value is not None:
            check_count(name, value)
    if order not in ORDERS:
        hint = nearest(order, ORDERS) if isinstance(order, str) else ""
        raise ValueError(f"order={order!r}: expected {' or '.join(map(repr, ORDERS))}{hint}")
    number = isinstance(temperature, (int, float, np.number)) and not isinstance(temperature, bool)
    if not number or not 0 < temperature < np.inf:
        raise ValueError(
            f"temperature={temperature!r} must be a finite number above 0; the likeliest tokens "
            "are those without do_sample=True"
        )
    if temperature != 1 and not do_sample:
        raise ValueError(f"temperature={temperature}: without effect unless do_sample=True")
    if key is not None:
        check_key(key)
    elif drawing := [
        name
        for name, draws in (("do_sample=True", do_sample), ("order='random'", order == "random"))
        if draws
    ]:
        raise ValueError(f"{drawing[0]} draws at random: pass key=jax.random.key(seed)")


def _mask_token(model: Any, tokenizer: Any, given: int | None, vocabulary: int) -> int:
    """The id of the mask token: as given, of the tokenizer, or of the config.

    Raises:
        ValueError: none is known, or it is outside the vocabulary.
    """
    if tokenizer is not None:
        check_together(model, tokenizer)
    if given is None and tokenizer is not None and "mask" in tokenizer.special:
        given = tokenizer.special_id("mask")
    mask = getattr(model.config, "mask_token_id", None) if given is None else given
    if mask is None:
        raise ValueError(
            "revise writes where the mask token stands, and neither tokenizer= nor the model's "
            "config names it: pass mask_token_id="
        )
    checks.ids("mask_token_id", np.array([[mask]]), vocabulary)
    return int(mask)


def _own_block(model: Any) -> int | None:
    """The length of the blocks that the mask of a model has; None where it has none."""
    parts = [part for mask in model.reading.masks for part in mask.parts()]
    marked = any(NOISED in part.reads for part in parts)
    sizes = [p.size for p in parts if isinstance(p, Block) and p.tag == "position"]
    return max(sizes) if marked and sizes else None


def _block(model: Any, block_length: int | None) -> int | None:
    """The length of the blocks that are written one after the other.

    Raises:
        ValueError: another one than that of the model.
    """
    own = _own_block(model)
    if own is not None and block_length not in (None, own):
        raise ValueError(
            f"block_length={block_length}: the mask of this model has blocks of {own} tokens; "
            f"leave block_length out, or pass {own}"
        )
    return own if block_length is None else block_length
