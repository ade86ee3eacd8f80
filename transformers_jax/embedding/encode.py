"""Texts to vectors, and the similarity of vectors.

Texts are sorted by their length, filled up to one of few widths and stacked to one of few heights,
so that a corpus of any size needs a handful of compiled programs. The order of the texts is
restored.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float, wide
from transformers_jax.embedding.directory import SIMILARITIES, Sentence
from transformers_jax.embedding.plan import EmbeddingPlan
from transformers_jax.face import public
from transformers_jax.hub.companions import companions
from transformers_jax.json_files import read_json
from transformers_jax.nn.norm import unit
from transformers_jax.nn.sentence import Pool
from transformers_jax.sizes import check_count
from transformers_jax.spelling import nearest
from transformers_jax.together import check_together

OTHERWISE = {  # what sentence-transformers calls them
    "normalize_embeddings": "that is normalize= here",
    "convert_to_numpy": "give output='numpy', as it is by default",
    "convert_to_tensor": "give output='jax'",
}
TOGETHER = 1024  # texts that are encoded and sorted together, at least
UNBOUNDED = 10**9  # model_max_length of tokenizers that know no limit is 1e30


def encode(
    model: Any,
    texts: str | Iterable[str],
    *,
    batch_size: int = 32,
    prompt: str | None = None,
    prompt_name: str | None = None,
    normalize: bool | None = None,
    truncate_dim: int | None = None,
    output: Literal["numpy", "jax"] = "numpy",
    show_progress: bool | None = None,
    tokenizer: Any = None,
    **others: Any,
) -> Float[Any, "N E"]:
    """A vector for each text, of a model loaded with head="embedding"; one for a single text.

    Args:
        prompt: is put in front of every text; `prompt_name` names one of the directory's
            ("query", "document", ...), and "" means none. By default the directory's own default.
        normalize: whether vectors get length one, after truncation. By default they are as the
            directory's modules leave them.
        truncate_dim: the length to which each vector is cut (Matryoshka, Kusupati et al. 2022);
            by default as many as the directory says, or all.
        output: "numpy" or "jax"; float32, or float64 of a model that is.
        show_progress: a bar on stderr; by default on a terminal, if there are several batches.
        tokenizer: instead of the one in the model's directory.

    Raises:
        TypeError: an unknown option (with the nearest name), and what is no text.
        ValueError: a model without sentence embeddings, an unknown prompt, a dimension that
            vectors do not have, texts that are no strings, or no tokenizer that belongs to the
            model.
    """
    from rich.console import Console
    from rich.progress import track

    sentence = sentence_of(model)
    for name in others:
        known = [*inspect.signature(encode).parameters][2:-1]
        hint = nearest(name, known, otherwise=OTHERWISE)
        raise TypeError(f"encode has no option {name!r}{hint}; it takes {', '.join(known)}")
    check_count("batch_size", batch_size)
    if output not in ("numpy", "jax"):
        raise ValueError(f"output={output!r}: expected 'numpy' or 'jax'")
    size = model.head.spec.size
    width = sentence.truncate or size
    if truncate_dim is not None:
        check_count("truncate_dim", truncate_dim)
        width = truncate_dim
    if width > size:
        raise ValueError(f"truncate_dim ({width}) is more than the {size} numbers of a vector")
    front = chosen_prompt(sentence, prompt, prompt_name)
    tokenizer = _tokenizer_of(sentence) if tokenizer is None else tokenizer
    check_together(model, tokenizer)
    if isinstance(texts, (bytes, Mapping)) or not isinstance(texts, Iterable):
        raise ValueError(f"texts are {type(texts).__name__}; expected a str, or several of them")
    strings = [texts] if isinstance(texts, str) else list(texts)
    for number, text in enumerate(strings):
        if not isinstance(text, str):
            raise ValueError(f"text {number} is {type(text).__name__}, not str")
    count = -(-len(strings) // batch_size)
    show = (
        count > 1 and bool(sys.stderr and sys.stderr.isatty())
        if show_progress is None
        else show_progress
    )
    embedded = np.zeros((len(strings), size), wide(model.dtype))
    batches = _batches(model, tokenizer, [front + text for text in strings], batch_size, front)
    for numbers, vectors in track(
        batches, "encoding", total=count, console=Console(stderr=True), disable=not show
    ):
        embedded[numbers] = np.asarray(vectors[: len(numbers)], embedded.dtype)
    embedded = embedded[:, :width]
    if normalize:
        embedded = embedded / np.maximum(np.linalg.norm(embedded, axis=1, keepdims=True), 1e-12)
    embedded = embedded[0] if isinstance(texts, str) else embedded
    return jnp.asarray(embedded) if output == "jax" else np.ascontiguousarray(embedded)


def _batches(
    model: Any, tokenizer: Any, texts: list[str], batch_size: int, prompt: str
) -> Iterator[tuple[np.ndarray, Array]]:
    """(the numbers of some texts, their vectors), batch by batch, texts of similar length together;
    the next is being computed while one is read."""
    sentence = sentence_of(model)
    longest = most_tokens(model, sentence)
    cut = {"max_length": longest, "truncation": longest is not None}
    extra: dict[str, Any] = {}
    if prompt and any(isinstance(s, Pool) and not s.include_prompt for s in sentence.steps):
        extra = {"prompt_length": np.int32(_prompt_length(tokenizer, prompt, cut))}
    by_size = np.argsort([-len(text) for text in texts], kind="stable")
    span = -(-TOGETHER // batch_size) * batch_size
    waiting = []
    for start in range(0, len(texts), span):
        numbers = by_size[start : start + span]
        # rows are cut and filled further on
        rows = tokenizer.batch([texts[n] for n in numbers], **cut, padding_side="right")
        lengths = rows["attention_mask"].sum(1)
        order = np.argsort(-lengths, kind="stable")
        for batch in (order[n : n + batch_size] for n in range(0, len(order), batch_size)):
            width, height = shape_of(int(lengths[batch[0]]), len(batch), batch_size, longest)
            filled = np.resize(batch, height)  # repeated rows, whose results are dropped
            inputs = {
                name: np.pad(array[filled, :width], ((0, 0), (0, max(0, width - array.shape[1]))))
                for name, array in rows.items()
            }
            waiting.append((numbers[batch], model(**inputs, **extra).sentence_embedding))
            if len(waiting) > 1:
                yield waiting.pop(0)
    yield from waiting


def shape_of(length: int, rows: int, batch_size: int, longest: int | None) -> tuple[int, int]:
    """(width, height) of the batch that holds so many rows of this length: of few, so that few
    programs are compiled. Widths are powers of two up to 64, then multiples of 64."""
    power = lambda number: 1 << (number - 1).bit_length()  # of two, at least the number
    width = power(max(length, 8)) if length <= 64 else -(-length // 64) * 64
    return width if longest is None else min(width, longest), min(power(rows), batch_size)


# ---------------------------------------------------------------- what the directory says


def sentence_of(model: Any) -> Sentence:
    """The record of the directory of a model of sentences.

    Raises:
        ValueError: a model with another head.
    """
    plan = getattr(model, "plan", None)
    if not isinstance(plan, EmbeddingPlan):
        head = getattr(plan, "head", type(model).__name__)
        raise ValueError(
            f"a model with head {head!r} makes no vectors of sentences; load it with "
            "head='embedding'"
        )
    return plan.sentence


def chosen_prompt(sentence: Sentence, prompt: str | None, name: str | None) -> str:
    """The text in front of every sentence; "" for none.

    Raises:
        ValueError: both given, or a name that the directory does not know.
    """
    if prompt is not None:
        if not isinstance(prompt, str):
            raise ValueError(f"prompt={prompt!r}: expected a text")
        if name is not None:
            raise ValueError(f"give prompt={prompt!r} or prompt_name={name!r}, one of the two")
        return prompt
    name = sentence.default_prompt if name is None else name
    if name is None:
        return ""
    if name not in sentence.prompts:
        known = ", ".join(sentence.prompts) or "it has none"
        raise ValueError(
            f"prompt_name={name!r} is none of the model's prompts{nearest(name, sentence.prompts)}"
            f" ({known}); prompt= takes a text"
        )
    return sentence.prompts[name]


def most_tokens(model: Any, sentence: Sentence) -> int | None:
    """The most tokens of a text, special ones included; None for no limit.

    What the directory says, else what its tokenizer says and the config allows; and never more than
    the model has learned positions for.
    """
    limits = [sentence.longest, model.positions]
    if sentence.longest is None:
        limits.append(getattr(model.config, "max_position_embeddings", None))
        if sentence.source is not None:
            file = Path(sentence.source) / "tokenizer_config.json"
            limits.append(read_json(file, optional=True).get("model_max_length"))
    real = [int(limit) for limit in limits if limit is not None and 0 < limit < UNBOUNDED]
    return min(real, default=None)


def _prompt_length(tokenizer: Any, prompt: str, cut: Mapping[str, Any]) -> int:
    """How many tokens of a text are its prompt: those in front, without what closes a text."""
    ids = tokenizer.batch([prompt], **cut)["input_ids"][0]
    added = tokenizer.inner.get_added_tokens_decoder()
    closed = int(ids[-1]) in added and added[int(ids[-1])].special
    return len(ids) - closed


def _tokenizer_of(sentence: Sentence) -> Any:
    if sentence.source is None:
        raise ValueError(
            "this model came from no directory, so it has no tokenizer; pass "
            "tokenizer=tj.load_tokenizer(path)"
        )
    return _loaded(sentence.source, sentence.lower, _stamps(sentence.source))


def _stamps(source: str) -> tuple[tuple[str, int, int], ...]:
    """Times and sizes of a tokenizer's files, which may have been replaced since they were read."""
    files = sorted(companions(Path(source)))
    return tuple((str(f), f.stat().st_mtime_ns, f.stat().st_size) for f in files)


@functools.lru_cache(maxsize=8)
def _loaded(source: str, lower: bool, stamps: Any) -> Any:
    """The tokenizer of a folder. `stamps` are part of the cache's key: files may be replaced."""
    tokenizer = public("load_tokenizer")(source)
    if lower:
        from tokenizers import normalizers

        own = tokenizer.inner.normalizer
        both = [normalizers.Lowercase(), *([] if own is None else [own])]
        tokenizer.inner.normalizer = normalizers.Sequence(both)
    return tokenizer


# ---------------------------------------------------------------- similarity


def similarity(
    a: Float[Any, "N E"], b: Float[Any, "M E"], how: Any = "cosine", *, paired: bool = False
) -> Float[Array, "N M"]:
    """The similarity of each vector of `a` to each of `b`, greater for nearer.

    `how` is "cosine", "dot", "euclidean" or "manhattan" (the last two are distances with a minus),
    or a model of sentences, whose directory says which. A single vector is one row. `paired`
    compares a[n] with b[n] only: Float[N].

    Raises:
        ValueError: an unknown `how`, or shapes that do not fit.
    """
    how = how if isinstance(how, str) else sentence_of(how).similarity
    if how not in SIMILARITIES:
        raise ValueError(
            f"similarity {how!r} is unknown{nearest(how, SIMILARITIES)}; known are "
            f"{', '.join(SIMILARITIES)}"
        )
    x, y = _vectors("a", a), _vectors("b", b)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or (paired and x.shape != y.shape):
        as_many = ", as many in both" if paired else ""
        raise ValueError(
            f"vectors have shapes {x.shape} and {y.shape}; expected rows of one width{as_many}"
        )
    if how == "cosine":
        x, y = unit(x), unit(y)
    if how in ("cosine", "dot"):
        equation = "ne,ne->n" if paired else "ne,me->nm"
        return jnp.einsum(equation, x, y, precision="highest")
    # differences, not |a|^2 - 2ab + |b|^2, which is mostly rounding error where vectors are near
    distance = lambda d: jnp.linalg.norm(d, ord=2 if how == "euclidean" else 1, axis=-1)
    return -distance(x - y) if paired else jax.lax.map(lambda one: -distance(one - y), x)


def _vectors(name: str, value: Any) -> Float[Array, "N E"]:
    """A matrix of vectors, of one or several."""
    try:
        vectors = jnp.atleast_2d(jnp.asarray(value))
        return vectors.astype(wide(vectors))
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} holds no numbers in rows of one width ({value!r:.60}); expected vectors, as "
            "model.encode gives"
        ) from None
