"""Text generation: `generate`, with Hugging Face's names and semantics.

options.py     what may be asked, its defaults, who decides
rows.py        ids, their padding, and how many a model takes
source.py      what an encoder is given, or what it gave
inputs.py      all of a request: checks on the host; widths in buckets
tags.py        what masks compare of the prompt, and of the tokens to come
processors.py  constraints on the text, as functions from scores to scores
sampling.py    temperature, top-k, top-p, and the draw
search.py      prefill and the loop: greedy and sampling
beam.py        beam search
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Int, Key, Params, check_key, is_traced, ordinary
from transformers_jax.generation.beam import beam_search
from transformers_jax.generation.inputs import Request, check_head, read, vocabulary_of
from transformers_jax.generation.options import Options, dials, resolve
from transformers_jax.generation.processors import Dials
from transformers_jax.generation.search import Found, Job, Prompt, search
from transformers_jax.models.base import Model, check_model
from transformers_jax.models.causal import by_first_token
from transformers_jax.models.output import Output
from transformers_jax.nn.param import merge, split
from transformers_jax.spelling import nearest

__all__ = ["Options", "generate"]


@overload
def generate(
    model: Model, input_ids: Any = None, *, return_dict_in_generate: Literal[True], **options: Any
) -> Output: ...
@overload
def generate(
    model: Model,
    input_ids: Any = None,
    *,
    return_dict_in_generate: Literal[False] = False,
    **options: Any,
) -> Int[Array, "B T"]: ...
@ordinary()
def generate(
    model: Any,
    input_ids: Int[Array, "B T"] | None = None,
    *,
    attention_mask: Int[Array, "B T"] | None = None,
    decoder_input_ids: Int[Array, "B T"] | None = None,
    encoder_outputs: Any = None,
    pixel_values: Array | None = None,
    input_features: Array | None = None,
    tags: Mapping[str, Int[Array, "B T"]] | None = None,
    decoder_tags: Mapping[str, Int[Array, "B T"]] | None = None,
    key: Key | None = None,
    generation_config: Any = None,
    return_dict_in_generate: bool = False,
    output_scores: bool = False,
    fixed_width: bool = False,
    **options: Any,
) -> Int[Array, "B T"] | Output:
    """Continues a prompt (or answers a source) token by token.

    Every other option is a field of `Options` under Hugging Face's name (`max_new_tokens`,
    `do_sample`, `temperature`, `top_k`, `top_p`, `num_beams`, ...), or an argument by which an
    encoder marks its tokens (`global_attention_mask`). What is passed here wins over
    `generation_config`, that over the model's own; an option that is passed as None is off.

    A decoder returns prompt and new tokens. Prompts of different lengths may be padded on either
    side; those returned are padded on the left, so that the new tokens of all rows begin in the
    same column. A row's text is the same as it would be alone. An encoder-decoder returns the
    decoder's tokens, the start token included; inside `jax.jit`, where values are not seen,
    `decoder_input_ids` must begin with it. Rows that have ended are filled with `pad_token_id`.

    The first call compiles; later ones reuse the program for other prompt lengths of the same
    bucket, other numbers of new tokens, temperatures and penalties.

    Args:
        encoder_outputs: what `model.encode` gave, in place of a source. `input_ids` beside it are
            those that were encoded: their pad tokens are padding (where no `attention_mask` says
            so), and `encoder_no_repeat_ngram_size` compares them.
        tags: of the prompt's tokens (the source's, where there is an encoder), for a model whose
            mask compares them: {"prefix": Int[B T]}. For new tokens a tag that marks (`Where`) is
            0, and one that groups (`Same`) goes on as the prompt ended; Int[B, T + max_new_tokens]
            says it otherwise.
        decoder_tags: the same of `decoder_input_ids`, the start token included.
        key: a `jax.random.key`, needed if and only if `do_sample`; same key, same text.
        return_dict_in_generate: return an `Output` with `sequences`, `sequences_scores` (beams)
            and, with `output_scores`, `scores`: one array of processed scores a step.
        fixed_width: return prompt + max_new_tokens columns always, e.g. inside `jax.jit`;
            otherwise the result is as wide as its longest row.

    Raises:
        TypeError: for an unknown option (with the nearest name).
        ValueError: for values out of range and for wrong inputs (with their place).

    Shapes: Int[B * num_return_sequences, width].
    """
    check_model(model, "generate")
    check_head(model)
    names = model.reading.source_arguments
    per_token = {name: options.pop(name) for name in names if name in options}
    _refuse_unknown(options)
    asked = resolve(
        options,
        generation_config,
        model.generation_config or {},
        _special_tokens(model.config),
        vocabulary_of(model),
    )
    if asked.do_sample and key is None:
        raise ValueError("do_sample=True draws at random: pass key=jax.random.key(seed)")
    if key is not None:
        check_key(key)
    others = {
        "encoder_outputs": encoder_outputs,
        "pixel_values": pixel_values,
        "input_features": input_features,
        **per_token,
    }
    others = {name: value for name, value in others.items() if value is not None}
    request = read(
        model, asked, input_ids, attention_mask, decoder_input_ids, others, tags, decoder_tags
    )
    if request.new == 0:
        ids = request.prompt.ids[:, request.prompt.ids.shape[1] - request.given :]
        ids = jnp.repeat(ids, asked.num_return_sequences, axis=0)
        return Output(sequences=ids) if return_dict_in_generate else ids
    found = _write(model, asked, request, key, output_scores and return_dict_in_generate)
    return _finish(found, request, return_dict_in_generate, fixed_width)


def _write(
    model: Any, asked: Options, request: Request, key: Key | None, with_scores: bool
) -> Found:
    """Runs the program of these options: found if there is one, else compiled."""
    static, numbers = dials(asked)
    definition, params = split(model)
    return _run(
        definition,
        static,
        request.width,
        with_scores,
        params,
        request.prompt,
        {name: jnp.float32(value) for name, value in numbers.items()},
        jnp.int32(request.new),
        key if asked.do_sample else None,
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _run(
    definition: Any,
    options: Options,
    width: int,
    with_scores: bool,
    params: Params,
    prompt: Prompt,
    numbers: Dials,
    limit: Int[Array, ""],
    key: Key | None,
) -> Found:
    """Prefill and loop in one program, found again by the static arguments and the shapes.

    The stacked parameters are taken apart once, before the loop: slicing them in every step costs
    a copy of all weights per token.
    """
    model = merge(definition, params).decoding()
    model = model if model.is_encoder_decoder else by_first_token(model)  # prompts were moved
    job = Job(prompt, numbers, limit, key, options, width)
    return (beam_search if options.num_beams > 1 else search)(model, job, with_scores)


def _finish(found: Found, request: Request, as_output: bool, fixed_width: bool) -> Any:
    """The columns that the caller knows of: without the bucket's, and as wide as asked for."""
    first = request.prompt.ids.shape[1] - request.given
    if fixed_width:
        steps = request.new
        ids = found.ids[:, first : first + request.given + steps]
    else:
        if is_traced(found.ids):
            raise ValueError("inside a transformation the width must be known: fixed_width=True")
        steps = int(found.steps)
        # sliced on the host: every other width would compile a slice of its own
        ids = jnp.asarray(np.asarray(found.ids)[:, first : first + request.given + steps])
    if not as_output:
        return ids
    fields: dict[str, Any] = {"sequences": ids}
    if found.row_scores is not None:
        fields["sequences_scores"] = found.row_scores
    if found.scores is not None:
        banned = jnp.where(found.scores <= -1e29, -jnp.inf, found.scores)  # as transformers
        fields["scores"] = tuple(banned[step] for step in range(steps))
    return Output(**fields)


def _refuse_unknown(options: dict[str, Any]) -> None:
    """Misspelt arguments of `generate` itself; misspelt options are told by `resolve`."""
    import inspect

    if "position_ids" in options:
        raise TypeError(
            "generate() has no argument 'position_ids': positions are counted from attention_mask; "
            "give each document of a packed row a row of its own"
        )

    names = [name for name in inspect.signature(generate).parameters if name != "options"]
    for name in options:
        if hint := nearest(name, names, cutoff=0.85):
            raise TypeError(f"generate() has no argument {name!r}{hint}")


def _special_tokens(config: Any) -> Any:
    """The config that names the special tokens: the text model's, where there are several."""
    inner = getattr(config, "text_config", None)
    has_any = getattr(config, "eos_token_id", None) is not None
    return config if inner is None or has_any else inner
