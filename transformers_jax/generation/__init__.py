"""Text generation: `generate`, with Hugging Face's names and semantics.

options.py     the options, their defaults, who decides
ranges.py      what their values may be
padding.py     ids and their padding
source.py      the inputs of an encoder, or its outputs
prepare.py     a call, checked and read
inputs.py      the whole request: checks on the host; widths in buckets
tags.py        what masks compare of the prompt, and of the tokens to come
job.py         the record of a search, its text and its result
text.py        the text that is written
processors/    constraints on the text and cut-offs, from scores to scores
stopping/      when a row has ended
grammar.py     texts of a grammar or a JSON schema, on the host; token_tree.py, of what tokens
guidance.py    the other prompt of a text; watermarks.py, lists of green tokens
detection.py   whether a text is marked
sampling.py    the draw
search.py      prefill and the loop: greedy and sampling
beam.py        beam search; hypotheses.py, its finished texts
constraints.py what a text has to contain; constrained.py, beams that write it
contrastive.py contrastive search
strategies.py  the strategies of search, and which one options ask for
rows.py        texts that grow by numbers of tokens of their own
assistance.py  where drafts come from
assisted.py    assisted (speculative) decoding
stream.py      texts as they are written
revise.py      texts whose masks are written in any order; revise_rows.py, revise_steps.py
texts.py       texts and conversations in, texts out; conversations.py, pieces.py
slots.py       texts that come and go, in the rows of one cache
slot_steps.py  what slots compute on the devices
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Int, Key, Params, is_traced, ordinary
from transformers_jax.generation.assistance import Assistance
from transformers_jax.generation.assisted import assisted_search
from transformers_jax.generation.grammar import Grammar, Regex
from transformers_jax.generation.inputs import Request
from transformers_jax.generation.job import Job, Result
from transformers_jax.generation.options import Options
from transformers_jax.generation.prepare import prepare
from transformers_jax.generation.processors.grammar import Run, completion
from transformers_jax.generation.processors.record import infinite
from transformers_jax.generation.strategies import strategy_of
from transformers_jax.generation.stream import begun, streamed
from transformers_jax.generation.texts import written
from transformers_jax.models.base import Model
from transformers_jax.models.causal import as_reader, as_writer, listed_views
from transformers_jax.models.output import Output
from transformers_jax.nn.param import merge, split
from transformers_jax.processes import on_host

__all__ = ["Options", "generate"]


@overload
def generate(
    model: Model, input_ids: Any = None, *, return_dict_in_generate: Literal[True], **options: Any
) -> Output: ...
@overload
def generate(
    model: Model,
    *,
    texts: str | Sequence[str],
    return_dict_in_generate: Literal[False] = False,
    **options: Any,
) -> list[str]: ...
@overload
def generate(
    model: Model,
    *,
    messages: Sequence[Any],
    return_dict_in_generate: Literal[False] = False,
    **options: Any,
) -> list[str]: ...
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
    texts: Any = None,
    messages: Any = None,
    attention_mask: Int[Array, "B T"] | None = None,
    decoder_input_ids: Int[Array, "B T"] | None = None,
    decoder_attention_mask: Int[Array, "B T"] | None = None,
    encoder_outputs: Any = None,
    tags: Mapping[str, Int[Array, "B T"]] | None = None,
    decoder_tags: Mapping[str, Int[Array, "B T"]] | None = None,
    logits_processor: Any = None,
    prefix_allowed_tokens_fn: Callable[..., Any] | None = None,
    assistant_model: Any = None,
    negative_prompt_ids: Int[Array, "B S"] | None = None,
    negative_prompt_attention_mask: Int[Array, "B S"] | None = None,
    stopping_criteria: Any = None,
    tokenizer: Any = None,
    json_schema: Mapping[str, Any] | str | bool | None = None,
    grammar: str | Regex | Grammar | None = None,
    streamer: Any = None,
    key: Key | None = None,
    generation_config: Any = None,
    return_dict_in_generate: bool = False,
    output_scores: bool = False,
    output_log_probs: bool = False,
    fixed_width: bool = False,
    **options: Any,
) -> Int[Array, "B T"] | Output | list[str]:
    """Continues a prompt (or answers a source) token by token.

    Prompts are ids, or with a tokenizer `texts` or conversations (`messages`), for which texts are
    returned: what was written behind each prompt, or in answer to it.

    Every other option is a field of `Options` under Hugging Face's name (`max_new_tokens`,
    `do_sample`, `temperature`, `top_k`, `top_p`, `num_beams`, ...), or an argument of an encoder: a
    source that is no text (`input_features`), or marks of its tokens (`global_attention_mask`), or
    what is read together with a prompt (`pixel_values`, `token_type_ids`).
    What is passed here wins over `generation_config`, that over the model's own; an option that is
    passed as None is off.

    A decoder returns prompt and new tokens. Prompts of different lengths may be padded on either
    side; those returned are padded on the left, so that the new tokens of all rows begin in the
    same column. A row's text does not depend on the other rows. An encoder-decoder returns the
    decoder's tokens, the start token included; inside `jax.jit`, where values are not known,
    `decoder_input_ids` must begin with it. Rows that have ended are filled with `pad_token_id`.

    The first call compiles; later ones reuse the program for other prompt lengths of the same
    bucket, other numbers of new tokens, temperatures and penalties.

    Args:
        texts: a text or several, to which the tokenizer adds its special tokens.
        messages: a conversation, [{"role": "user", "content": "..."}], or several, which the
            tokenizer's chat template writes.
        decoder_attention_mask: where decoder_input_ids of different lengths are padded, on either
            side; they are then the whole prompt, the start token included.
        encoder_outputs: what `model.encode` returned, in place of a source. `input_ids` passed with
            it are those that were encoded: their pad tokens are padding (where no `attention_mask`
            says so), and `encoder_no_repeat_ngram_size` compares them.
        tags: of the prompt's tokens (the source's, where there is an encoder), for a model whose
            mask compares them: {"prefix": Int[B T]}. For new tokens a tag that marks (`Where`) is
            0, and one that groups (`Same`) goes on as the prompt ended; Int[B, T + max_new_tokens]
            says it otherwise.
        decoder_tags: the same of `decoder_input_ids`, the start token included.
        logits_processor: processors of yours, which run after those that constrain the text and
            before temperature and cut-offs: records (`tj.MinPLogitsWarper(0.1)`), or functions
            (text, scores) -> scores that JAX can trace, `text` a `generation.text.Text`. One of
            the same class as one that an option makes replaces it.
        prefix_allowed_tokens_fn: (number of the prompt, its text so far) -> ids of the tokens that
            may come next; called on the host, for every row in every step.
        assistant_model: a smaller model with the same vocabulary, which drafts tokens; those that
            the model would have written itself are accepted (`assisted.py`).
        negative_prompt_ids: with `guidance_scale`, the prompt from which the text is led away; its
            pad tokens are padding where no `negative_prompt_attention_mask` says so. Without it,
            the last token of the prompt.
        stopping_criteria: records (`tj.StopStringCriteria(...)`), or functions (text) -> which rows
            have ended, Bool[R] or Bool[], that JAX can trace. One of the same class as one that an
            option makes replaces it.
        tokenizer: the model's, which `texts`, `messages`, `stop_strings`, `json_schema` and
            `grammar` need.
        json_schema: the text is JSON of this schema: a dict, or its text (the extra `grammar`).
        grammar: the text is one of a Lark grammar, matched by a `tj.Regex`, or of a `tj.Grammar`,
            which is read once for many calls. A row that is cut is named by a warning.
        streamer: is given the tokens of one text as they are written (`tj.TextStreamer`);
            `tj.stream` is the same as an iterator.
        key: a `jax.random.key`, needed if and only if `do_sample`; same key, same text.
        return_dict_in_generate: return an `Output` with `sequences`, `new_tokens` (how many each
            row has, its end included), `sequences_scores` (of beams, and of the best of samples)
            and, with `output_scores`, `scores`: one array of
            processed scores a step; with `output_log_probs`, `token_log_probs`: of each new token
            among the processed scores, as they are before a temperature divides them. Where
            tokens are drafted, `accepted_tokens` and `drafted_tokens` count them for each row; of
            texts and messages, `texts`. Where there is a grammar, `complete` says which rows are
            texts of it.
        fixed_width: return prompt + max_new_tokens columns always, e.g. inside `jax.jit`;
            otherwise the result is as wide as its longest row.

    Raises:
        TypeError: for an unknown option (with the nearest name).
        ValueError: for values out of range and for wrong inputs (with their index).

    Shapes: Int[B * num_return_sequences, width], or a list of as many texts.
    """
    if output_log_probs and not return_dict_in_generate:
        raise ValueError("output_log_probs=True needs return_dict_in_generate=True")
    prepared = prepare(
        model,
        input_ids,
        texts=texts,
        messages=messages,
        attention_mask=attention_mask,
        decoder_input_ids=decoder_input_ids,
        decoder_attention_mask=decoder_attention_mask,
        encoder_outputs=encoder_outputs,
        tags=tags,
        decoder_tags=decoder_tags,
        logits_processor=logits_processor,
        prefix_allowed_tokens_fn=prefix_allowed_tokens_fn,
        assistant_model=assistant_model,
        negative_prompt_ids=negative_prompt_ids,
        negative_prompt_attention_mask=negative_prompt_attention_mask,
        stopping_criteria=stopping_criteria,
        tokenizer=tokenizer,
        json_schema=json_schema,
        grammar=grammar,
        key=key,
        generation_config=generation_config,
        with_scores=output_scores and return_dict_in_generate,
        with_log_probs=output_log_probs,
        options=options,
    )
    request, run = prepared.request, prepared.run
    if prepared.job is None:  # no new token is asked for
        ids = request.prompt.ids[:, request.prompt.ids.shape[1] - request.columns :]
        ids = jnp.repeat(ids, prepared.options.num_return_sequences, axis=0)
        counts = jnp.zeros(ids.shape[0], jnp.int32)
        output = Output(sequences=ids, **completion(run, ids[:, :0]), new_tokens=counts)
        if streamer is not None:
            begun(model, prepared, streamer).end()
    elif streamer is not None:
        output = _finish(streamed(model, prepared, streamer), request, run, fixed_width)
    else:
        assistant = (None, None) if assistant_model is None else split(assistant_model)
        result = _run(
            *split(model), listed_views(model), prepared.job, prepared.assistance, *assistant
        )
        output = _finish(result, request, run, fixed_width)
    if prepared.prompts is not None:
        ends = prepared.options.eos_token_id
        made = written(model, tokenizer, prepared.prompts, request.columns, output, ends)
        return Output(**dict(output.items()), texts=made) if return_dict_in_generate else made
    return output if return_dict_in_generate else output.sequences


@functools.partial(jax.jit, static_argnums=(0, 4, 5))
def _run(
    definition: Any,
    params: Params,
    listed: Params | None,
    job: Job,
    assistance: Assistance | None,
    other_definition: Any,
    other_params: Params | None,
) -> Result:
    """Prefill and loop in one program, cached by the static fields of the job and the shapes.

    The stacked parameters are split into layers before the loop (`listed`, where that costs no
    copy): slicing them in every step costs a copy of all weights per token. Prompts are read layer
    by layer in a loop, so that the layers are compiled once for that, and not each.
    """
    whole = merge(definition, params)
    model, job = as_writer(whole, listed), replace(job, reader=as_reader(whole))
    if assistance is not None:
        other = None if other_params is None else merge(other_definition, other_params)
        drafter = assistance.drafter(whole, other, job)
        return assisted_search(model, job, drafter, assistance.size)
    return strategy_of(job.options, job.forest is not None).search(model, job)


def _finish(result: Result, request: Request, run: Run | None, fixed_width: bool) -> Output:
    """The columns that the caller knows of: without the bucket's, and as wide as the longest row
    (or `fixed_width`)."""
    first = request.prompt.ids.shape[1] - request.columns
    if fixed_width:
        steps = request.new
        ids = result.ids[:, first : first + request.columns + steps]
    else:
        if is_traced(result.ids):
            raise ValueError("inside a transformation the width must be known: fixed_width=True")
        steps = int(result.steps)
        # sliced on the host: every other width would compile a slice of its own
        ids = jnp.asarray(on_host(result.ids)[:, first : first + request.columns + steps])
    fields: dict[str, Any] = {"sequences": ids, **completion(run, ids[:, request.columns :])}
    if result.row_scores is not None:
        fields["sequences_scores"] = result.row_scores
    if result.scores is not None:
        scores = infinite(result.scores)
        fields["scores"] = tuple(scores[step] for step in range(steps))
    if result.log_probs is not None:
        fields["token_log_probs"] = result.log_probs[:steps].T
    if result.drafted is not None:
        fields |= {"accepted_tokens": result.accepted, "drafted_tokens": result.drafted}
    return Output(**fields, new_tokens=result.counts)
