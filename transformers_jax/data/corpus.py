"""A run's text as ids: what is trained on, in which shares, and what it is measured on.

A source (sources.py), a file of token ids, or a folder of tokens becomes documents to train on and
documents to evaluate on; a tokenizer that is learned in the run is learned from the first only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from transformers_jax.data.config import Data
from transformers_jax.data.documents import batches, encode_batch, open_documents
from transformers_jax.data.splits import check_trained, evaluated
from transformers_jax.data.texts import RULES, Source, digest
from transformers_jax.data.tokenizers import MADE, Tokenizer, load_tokenizer, train_tokenizer
from transformers_jax.data.tokens import Encoded, Tokens, chunks, collect, join, smallest_dtype
from transformers_jax.data.verification import Expected
from transformers_jax.processing.readers import Readers


@dataclass(frozen=True)
class Component:
    """One source to train on; `share` of the rows come from it."""

    name: str
    tokens: Tokens
    share: float


@dataclass(frozen=True)
class Corpus:
    """Documents to train on and to evaluate on.

    Attributes:
        parts: one for data.path, one for each source of data.mixture; shares sum to 1.
        evaluation: by name; "" is what is held out, or data.eval_path. Without either there is no
            "".
        tokenizer: None for token files without one.
        notes: what was chosen for the user, in a line each.
        expected: the files of folders of tokens, to be held against their checksums.
    """

    parts: tuple[Component, ...]
    evaluation: Mapping[str, Tokens]
    tokenizer: Tokenizer | None
    notes: tuple[str, ...] = ()
    expected: tuple[Expected, ...] = ()

    @property
    def trained_tokenizer(self) -> bool:
        """Whether the vocabulary comes from the run and not from elsewhere."""
        return self.tokenizer is not None and self.tokenizer.kind in MADE

    @property
    def readers(self) -> Readers:
        """What a model of this text is saved with."""
        return Readers(self.tokenizer)

    @property
    def shown(self) -> Tokens:
        """The text from which samples are prompted: held out, if any is."""
        return next(iter(self.evaluation.values()), self.parts[0].tokens)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits: which ids these are, in which shares."""
        lines = [f"{part.tokens.fingerprint} {part.share:.9g}\n" for part in self.parts]
        lines += [f"{name} {tokens.fingerprint}\n" for name, tokens in self.evaluation.items()]
        return digest("".join(lines))

    @property
    def documents(self) -> dict[str, int]:
        """How many there are: "train", "validation", and by the names of eval_sets."""
        held_out = {name or "validation": len(tokens) for name, tokens in self.evaluation.items()}
        return {"train": sum(len(part.tokens) for part in self.parts)} | held_out

    @property
    def bytes_per_token(self) -> dict[str, float | None]:
        """Of each evaluation set, for bits per byte; None if there is no text."""
        return {
            name: None if tokens.text_bytes is None else tokens.text_bytes / max(len(tokens.ids), 1)
            for name, tokens in self.evaluation.items()
        }

    @property
    def origin(self) -> str:
        """The sources and their sizes, for people."""
        names = ", ".join(
            part.name if len(self.parts) == 1 else f"{part.name} ({part.share:.3g})"
            for part in self.parts
        )
        size = sum(len(part.tokens.ids) for part in self.parts)
        held_out = ", ".join(f"{len(t.ids):,} {n}".strip() for n, t in self.evaluation.items())
        return (
            f"{names}: {size:,} tokens of {self.documents['train']:,} documents to train on, "
            f"{held_out or 'none'} held out"
        )


def load_corpus(
    data: Data,
    *,
    roles: Sequence[str] = (),
    sentinels: int = 0,
    modes: Sequence[str] = (),
    sentences: bool = False,
    eos: bool = False,
    tokenizer: Tokenizer | None = None,
    rules: int = RULES,
    learns: bool = True,
) -> Corpus:
    """Reads the sources and makes them ids.

    Args:
        roles, sentinels, modes: the special tokens that a tokenizer learned here gets.
        sentences: whether sentence starts are needed.
        eos: puts the token `eos` behind every document; otherwise several documents of text have
            a blank line between them (a new line, where documents are lines).
        tokenizer: the one of the run that is continued.
        rules: `texts.RULES`, or those of an earlier version, for its runs.
        learns: whether a tokenizer may be learned here; bytes are what they are.

    Raises:
        ValueError: a source that is missing, empty or damaged, a text that its encoding does not
            fit, shares that do not sum to 1, or nothing held out.
    """
    paths, shares = parse_mixture(data)
    fraction = data.eval_fraction if data.eval_path is None else None
    options = {name: getattr(data, name) for name in ("field", "documents", "encoding")}
    open_at = partial(open_documents, **options, eos=eos, rules=rules)
    sources = [open_at(path, fraction=fraction) for path in paths]
    for source in sources:
        check_trained(source.path, source.splits, "data.eval-path")
    sets = {name: open_at(path, fraction=None) for name, path in _evaluation_paths(data).items()}
    if tokenizer is None:
        roles = tuple(dict.fromkeys([*roles, "eos"] if eos else roles))
        if not learns and data.tokenizer != "byte":
            learn: Callable[..., Tokenizer] = _refuse_to_learn
        else:
            learn = partial(train_tokenizer, roles=roles, sentinels=sentinels, modes=modes)
        tokenizer = _tokenizer(data, sources, [*sets.values()], learn)
    for source in (*sources, *sets.values()):
        _check_folder(source, tokenizer, sentences, eos, data.tokenizer)
    encode = partial(_encode, tokenizer=tokenizer, sentences=sentences, eos=eos)
    trained = [encode(source, "train") for source in sources]
    evaluation = {name: encode(source, evaluated(source.splits)) for name, source in sets.items()}
    if data.eval_path is None:
        held_out = [encode(one, "validation") for one in sources if "validation" in one.splits]
        if sum(map(len, held_out)):
            evaluation = {"": join(held_out), **evaluation}
        elif fraction:
            raise ValueError(
                f"{', '.join(paths)}: no document is held out for evaluation; raise "
                f"data.eval_fraction ({data.eval_fraction}) or give data.eval_path; 0 trains on all"
            )
    notes = tuple(one.note for one in (*sources, *sets.values()) if one.note)
    parts = tuple(map(Component, paths, trained, _shares(data, shares, trained)))
    files = tuple(file for one in (*sources, *sets.values()) for file in one.expected)
    return Corpus(parts, evaluation, tokenizer, notes, files)


def parse_mixture(data: Data) -> tuple[list[str], list[float] | None]:
    """Paths and shares of data.mixture, or only data.path; no shares: by their sizes.

    Raises:
        ValueError: some have shares and some not, shares do not sum to 1, or a path comes twice.
    """
    if not data.mixture:
        return [data.path], [1.0]
    paths, shares = zip(*map(_parse_share, data.mixture))
    if len(set(paths)) < len(paths):
        raise ValueError(f"data.mixture names a source twice: {', '.join(data.mixture)}")
    numbers = [share for share in shares if share is not None]
    if not numbers:
        return [*paths], None
    if len(numbers) < len(shares):
        raise ValueError(
            f"data.mixture gives {len(numbers)} of {len(shares)} sources a share; give one to each "
            "(PATH=SHARE), or to none"
        )
    if not (all(share > 0 for share in numbers) and abs(sum(numbers) - 1) <= 1e-6):  # nor NaN
        raise ValueError(
            f"the shares of data.mixture must be positive and sum to 1; {numbers} sum to "
            f"{sum(numbers):.6g}"
        )
    return [*paths], numbers


def _parse_share(entry: str) -> tuple[str, float | None]:
    path, _, share = entry.rpartition("=")
    try:
        return (path, float(share)) if path else (entry, None)
    except ValueError:
        return entry, None


def _shares(data: Data, shares: list[float] | None, trained: list[Tokens]) -> list[float]:
    """Sizes to the power of 1 / temperature (Devlin et al. 2019, multilingual BERT), if none."""
    if shares is not None:
        return shares
    sizes = np.array([len(tokens.ids) for tokens in trained], float) ** (1 / data.temperature)
    return (sizes / sizes.sum()).tolist()


def _evaluation_paths(data: Data) -> dict[str, str]:
    paths = {} if data.eval_path is None else {"": data.eval_path}
    for entry in data.eval_sets:
        name, _, path = entry.partition("=")
        if not (name and path) or name in paths:
            raise ValueError(f"data.eval_sets: {entry!r} is not NAME=PATH with a name of its own")
        paths[name] = path
    return paths


# ---------------------------------------------------------------- ids


def _tokenizer(
    data: Data, sources: list[Source], sets: list[Source], learn: Callable[..., Tokenizer]
) -> Tokenizer | None:
    """The one that is named by its path, that of a folder of tokens, or one that is learned."""
    texts = [source.path for source in (*sources, *sets) if not source.ids]
    if data.tokenizer not in (*MADE, "none"):
        try:
            return load_tokenizer(data.tokenizer)
        except ValueError as error:
            raise ValueError(f"--data.tokenizer {data.tokenizer}: {error}") from None
    if own := [source.tokenizer for source in (*sources, *sets) if source.tokenizer is not None]:
        return load_tokenizer(own[0])
    if texts and data.tokenizer == "none":
        raise ValueError(f"{texts[0]} is text, and data.tokenizer is none; name a tokenizer")
    if not texts:
        return None
    parts = [(source, "train") for source in sources]
    if data.tokenizer == "character":  # a character that is not in the vocabulary has no id
        parts += [(source, "validation") for source in sources if "validation" in source.splits]
        parts += [(source, evaluated(source.splits)) for source in sets]
    documents = (
        text + source.separator
        for source, split in parts
        if not source.ids
        for text in source.splits[split]
    )
    return learn(data.tokenizer, documents, data.vocab_size)


def _refuse_to_learn(kind: str, *_: Any) -> Tokenizer:
    raise ValueError(
        f"data.tokenizer is {kind}, which is learned from this text: its ids are not those of the "
        "weights that the run starts from; name their tokenizer, as in --data.tokenizer DIR"
    )


def _check_folder(
    source: Source, tokenizer: Tokenizer | None, sentences: bool, eos: bool, named: str
) -> None:
    """A folder of tokens is of the run's tokenizer, and has the ends and sentences that it needs;
    `named`: data.tokenizer.

    Raises:
        ValueError: it is not, or has not.
    """
    if source.meta is not None:
        expected = source.meta.get("tokenizer")
        if expected is None and source.tokenizer is not None:
            expected = load_tokenizer(source.tokenizer).fingerprint
        if tokenizer is None and expected is not None and named != "none":
            raise ValueError(
                f"{source.path} was made with the tokenizer {expected}, which is not beside it; "
                "name it with --data.tokenizer DIR, put its files there again, or make the folder "
                "anew; --data.tokenizer none trains on the ids without it"
            )
        if tokenizer is not None and expected not in (None, tokenizer.fingerprint):
            way = "pass --data.tokenizer none, which takes that of the folder"
            if named not in (*MADE, "none"):
                way = f"make it anew with `transformers-jax tokenize --tokenizer {named}`, or {way}"
            raise ValueError(
                f"{source.path} was made with the tokenizer {expected}, and this run has "
                f"{tokenizer.fingerprint} ({named}); {way}"
            )
        if eos and not source.meta.get("eos", False):
            raise ValueError(
                f"{source.path} has no token behind its documents, which this run needs; make it "
                "with transformers-jax tokenize --eos"
            )
    if sentences and source.ids and getattr(source.splits["train"], "sentences", None) is None:
        raise ValueError(
            f"{source.path} does not say where sentences start, which this objective needs; give "
            "text, or make it with transformers-jax tokenize --sentences"
        )


def _encode(
    source: Source, split: str, *, tokenizer: Tokenizer | None, sentences: bool, eos: bool
) -> Tokens:
    documents = source.splits[split]
    if isinstance(documents, Tokens):
        return documents
    end = None
    if eos:
        if tokenizer is None:
            raise ValueError(
                f"{source.path}: a token ends each document, and there is no tokenizer"
            )
        end = tokenizer.vocabulary().need("eos")
    if source.ids:
        rows = map(np.asarray, documents)
        if end is not None:
            rows = (np.append(ids, ids.dtype.type(end)) for ids in rows)
        return collect(map(Encoded, rows), None, False)
    assert tokenizer is not None
    encoded = (
        document
        for texts in batches(documents)
        for document in encode_batch(tokenizer, texts, source.separator, end, sentences)
    )
    return collect(encoded, smallest_dtype(tokenizer.max_id), sentences)


def check_ids(corpus: Corpus, size: int, path: str) -> None:
    """Every id is in the vocabulary; a text's ids do once its tokenizer's largest id does.

    Raises:
        ValueError: the first id outside, with its position.
    """
    tokenizer = corpus.tokenizer
    if tokenizer is not None and tokenizer.max_id >= size:
        raise ValueError(
            f"the tokenizer's largest id ({tokenizer.max_id}) does not fit model.vocab_size "
            f"({size}); pass --model.vocab-size {tokenizer.max_id + 1}"
        )
    named = [(part.name, "training", part.tokens) for part in corpus.parts]
    named += [(name or path, "evaluation", tokens) for name, tokens in corpus.evaluation.items()]
    for source, name, tokens in named:
        for start, ids in chunks(tokens.ids):
            wrong = (ids < 0) | (ids >= size)
            if wrong.any():
                index = int(np.argmax(wrong))
                raise ValueError(
                    f"{source}: id {ids[index]} at {start + index} of the {name} part is outside "
                    f"the vocabulary [0, {size}) of model.vocab_size; do they belong together?"
                )
