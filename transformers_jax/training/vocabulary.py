"""The vocabulary of a run: its size, its special tokens, and what the objective knows of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from transformers_jax.data.config import Table
from transformers_jax.data.corpus import Corpus, check_ids
from transformers_jax.data.tables import Records
from transformers_jax.data.tokenizers import MADE, Tokenizer, has_tokenizer, load_tokenizer
from transformers_jax.models.composite import with_words, words_of
from transformers_jax.models.config import FamilyConfig
from transformers_jax.objectives import Vocabulary
from transformers_jax.processing.placeholders import IMAGE, token_id
from transformers_jax.tasks import Task
from transformers_jax.tasks.corpus import learn_tokenizer
from transformers_jax.training.config import TrainConfig


def vocabulary_of(tokenizer: Tokenizer | None, size: int) -> Vocabulary:
    """The vocabulary of the tokenizer, as an objective sees it."""
    if tokenizer is None:
        return Vocabulary(size=size, special={})
    return tokenizer.vocabulary(size)


def tokenizer_of(config: TrainConfig) -> str:
    """The path of the tokenizer of a task: that of the config, which is the model's.

    Raises:
        ValueError: there is none.
    """
    named = config.data.tokenizer
    if not named:
        where = f"{config.init_from} has no tokenizer" if config.init_from else "no model is named"
        learned = "" if config.init_from else ", or learn one from the table: --data.tokenizer bpe"
        raise ValueError(
            f"{where}: name the one that belongs to it, as in --data.tokenizer DIR{learned}"
        )
    if named in MADE:
        raise ValueError(
            f"data.tokenizer: one that is learned ({named}) has other tokens than those of "
            f"{config.init_from}; leave it out for the model's own"
        )
    return named


def task_tokenizer(config: TrainConfig, begun: Path | None, train: Records) -> Tokenizer:
    """The tokenizer of a task: that of a run that is continued, in the folder `begun`; the one that
    the config names; or one that is learned from the records to train on.

    Raises:
        ValueError: there is none.
    """
    if begun is not None and has_tokenizer(begun):
        return of_languages(begun, config.objective)
    if learns_tokenizer(config):
        assert isinstance(config.data, Table)
        assert isinstance(config.objective, Task)
        added = config.objective.added_tokens(config.model)
        return learn_tokenizer(config.data, config.objective, train, added)
    return of_languages(tokenizer_of(config), config.objective)


def of_languages(path: str | Path, task: Any) -> Tokenizer:
    """The tokenizer of a task, of the languages that it names.

    Raises:
        ValueError: it has none, or not these.
    """
    languages = task.languages if isinstance(task, Task) else {}
    try:
        return load_tokenizer(path, **languages)
    except ValueError as error:
        if not languages:
            raise
        raise ValueError(
            f"objective.source_language, target_language: {error}; they are of mBART, mBART-50, "
            "M2M-100 and NLLB; others are told by a prefix (T5), or know one pair"
        ) from None


def learns_tokenizer(config: TrainConfig) -> bool:
    """Whether the tokenizer of a task is learned from its table: of a model that begins anew."""
    return config.init_from is None and config.data.tokenizer in MADE


def model_for(config: TrainConfig, tokenizer: Tokenizer) -> FamilyConfig:
    """The config of a task's model with what its tokenizer decides: the token for padding, and of
    one that is learned the vocabulary and all special tokens."""
    model = config.model
    if learns_tokenizer(config):
        names = special_ids(config, tokenizer.vocabulary().special)
        model = with_words(model, vocab_size=tokenizer.max_id + 1, **names)
        if model.PARTS and config.objective.learns_labels:  # type: ignore[union-attr]
            model = _of_a_writer(model, tokenizer, names)
    return with_padding(model, tokenizer)


def _of_a_writer(
    model: FamilyConfig, tokenizer: Tokenizer, names: Mapping[str, int | None]
) -> FamilyConfig:
    """The config of a model of several parts that writes: as a whole it has the special tokens as
    well, and the token in whose places pictures stand."""
    if hasattr(words_of(model), "sep_token_id"):  # with which BLIP ends a text
        model = with_words(model, sep_token_id=names["eos_token_id"])
    if hasattr(model, "image_token_index"):
        model = model.replace(image_token_index=token_id(tokenizer, IMAGE))
    return model.replace(**names)


def with_padding(model: FamilyConfig, tokenizer: Tokenizer) -> FamilyConfig:
    """The config of a model with a token for padding: its own, the tokenizer's, or, of decoders
    that have none, the end of a text."""
    own = words_of(model) or model
    if model.pad_token_id is not None or own.pad_token_id is not None:
        return model
    roles = [role for role in ("pad", "eos") if role in tokenizer.special]
    return with_words(model, pad_token_id=tokenizer.special_id(roles[0]) if roles else 0)


def fit_vocabulary(
    config: TrainConfig, corpus: Corpus, mesh: Mesh | None, saved: dict[str, Any] | None
) -> tuple[TrainConfig, int]:
    """(the config with the size and special tokens of its vocabulary, the number of real tokens).

    A tokenizer that is learned in the run decides the vocabulary and its special tokens; weights
    that it starts from have theirs already. A size that the mesh's tensor axis does not divide is
    padded.

    Raises:
        ValueError: a tokenizer from elsewhere whose special tokens are not those of the model.
    """
    tokenizer, model = corpus.tokenizer, config.model
    special = {} if tokenizer is None else tokenizer.vocabulary().special
    names = special_ids(config, special)
    if corpus.trained_tokenizer and config.init_from is None:
        assert tokenizer is not None
        real = tokenizer.max_id + 1
    else:
        _check_special(config, names)
        real, names = model.vocab_size, {}  # type: ignore[attr-defined]
        real = (saved or {}).get("words", real)  # its config.json has the padded size
    cut = 1 if mesh is None else mesh.shape["tensor"]
    size = -(-real // cut) * cut
    if saved is not None and saved.get("vocab_size"):
        size = max(size, saved["vocab_size"])
    return config.replace(model=model.replace(vocab_size=size, **names)), real


def check_loss(config: TrainConfig, corpus: Corpus, size: int) -> None:
    """Raises ValueError for a `loss.vocab` that leaves tokens of the text without a logit, whose
    loss would not be finite, or that is more than the output embedding has."""
    limit = config.loss.vocab
    if limit is None:
        return
    least = 1 if corpus.tokenizer is None else corpus.tokenizer.max_id + 1
    if not least <= limit <= size:
        raise ValueError(
            f"loss.vocab ({limit:,}) must be from {least:,}, the tokens of the tokenizer, to "
            f"{size:,}, the rows of the output embedding; without it all rows are tokens"
        )
    check_ids(corpus, limit, config.data.path)


def special_ids(config: TrainConfig, special: Mapping[str, int]) -> dict[str, int | None]:
    """The special tokens of a tokenizer under the names that the model has for them."""
    names = {f"{role}_token_id": special.get(role) for role in ("pad", "bos", "eos")}
    if config.objective.sides == 2:
        start, eos = start_role(type(config.model)), special.get("eos")
        names["decoder_start_token_id"] = special.get(start, eos)
        names["forced_eos_token_id"] = eos
    own = words_of(config.model)
    known = lambda name: hasattr(config.model, name) or hasattr(own, name)
    return {name: value for name, value in names.items() if known(name)}


def start_role(family: type[FamilyConfig]) -> str:
    """The role of the special token with which the family's decoder starts: the one that has the
    same id in the defaults of its config (T5: padding, BlenderBot: bos); else the end of a text, by
    far the most frequent."""
    defaults = {field.name: field.default for field in dataclasses.fields(family)}
    start = defaults["decoder_start_token_id"]
    roles = [role for role in ("pad", "eos", "bos") if defaults[f"{role}_token_id"] == start]
    return roles[0] if roles and start is not None else "eos"


def _check_special(config: TrainConfig, names: dict[str, int | None]) -> None:
    """Raises ValueError where the special tokens of the model are not those of the tokenizer."""
    wrong = [
        f"model.{name} is {getattr(config.model, name)} and the tokenizer's is {value}"
        for name, value in names.items()
        if value is not None and getattr(config.model, name) not in (None, value)
        if config.objective.sides == 2 or name == "pad_token_id"
    ]
    if wrong:
        raise ValueError(f"{'; '.join(wrong)}: set them to what {config.data.tokenizer} says")
