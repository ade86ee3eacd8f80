"""The settings in the files next to a vocabulary: options of the class, special and added tokens.

tokenizer_config.json says most. Where it does not list the added tokens with their ids
(`added_tokens_decoder`), as files before 2023 do not, special_tokens_map.json wins over it, and
added_tokens.json and tokenizer.json have the tokens and ids.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from transformers_jax.json_files import read_json

CONFIG, MAP, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")  # in the order in which they are added

FLAGS = ("lstrip", "normalized", "rstrip", "single_word", "special")  # of an added token


@dataclass
class Options:
    """Values of tokenizer_config.json, and the tokens that are added to a vocabulary.

    Attributes:
        values: options by name; special tokens among them as texts or as the Rust library's tokens.
        added: id -> token, of those that have ids in the files.
        extra: special tokens without a role (`additional_special_tokens`, in newer files
            `extra_special_tokens`), or None where no file names any.
        has_json: whether there is a tokenizer.json, which has a template of its own.
    """

    values: dict[str, Any] = field(default_factory=dict)
    added: dict[int, Any] = field(default_factory=dict)
    extra: list[Any] | None = None
    has_json: bool = False

    def get(self, name: str, default: Any = None) -> Any:
        """An option, or its default where the files say nothing or null."""
        value = self.values.get(name)
        return default if value is None else value

    def token(self, role: str) -> str | None:
        """The text of a role's token."""
        return text(self.values.get(f"{role}_token"))

    def default(self, special: dict[str, str], flags: dict[str, dict[str, bool]]) -> None:
        """Special tokens of a class, for the roles that no file names, and the flags of those
        that the files name without flags."""
        for role, content in special.items():
            value = self.values.setdefault(f"{role}_token", content)
            if role in flags and isinstance(value, str):
                self.values[f"{role}_token"] = {"content": value, **flags[role]}


def read_options(folder: Path, languages: dict[str, Any]) -> Options:
    """The options of the tokenizer in a folder; `languages` win over the files.

    Raises:
        ValueError: one of the files is not JSON, or holds no object.
    """
    values = {**read_json(folder / CONFIG, optional=True), **languages}
    if "additional_special_tokens" in values and not values.get("extra_special_tokens"):
        values["extra_special_tokens"] = values.pop("additional_special_tokens")
    named = [
        values.pop(key)
        for key in [*values]
        if key.endswith("_token") and key.removesuffix("_token") not in ROLES
        if isinstance(values[key], (str, dict)) and text(values[key])
    ]
    options = Options(values, has_json=(folder / "tokenizer.json").is_file())
    if "added_tokens_decoder" in values:
        listed = values["added_tokens_decoder"] or {}
        options.added = {int(number): token(one) for number, one in listed.items()}
    else:
        _older(folder, options, languages)
    extra = values.pop("extra_special_tokens", None)
    more = values.pop("additional_special_tokens", None)
    if isinstance(extra, dict):
        named, extra = [*named, *extra.values()], None
    extra = more if extra is None else extra
    if extra is not None or named:
        options.extra = [token(one) for one in [*(extra or []), *named]]
    by_text = {one.content: one for one in options.added.values()}
    for role in ROLES:
        if values.get(f"{role}_token") is not None:
            one = values[f"{role}_token"]
            values[f"{role}_token"] = by_text.get(token(one).content, one)
    return options


def _older(folder: Path, options: Options, languages: dict[str, Any]) -> None:
    """The files that list added tokens where tokenizer_config.json does not."""
    values = options.values
    for key, value in read_json(folder / MAP, optional=True).items():
        if not languages.get(key):
            values[key] = {**value, "special": True} if isinstance(value, dict) else value
    special = {text(values.get(f"{role}_token")) for role in ROLES}
    listed = values.get("extra_special_tokens")
    special |= {text(one) for one in (listed if isinstance(listed, list) else [])}
    for content, number in read_json(folder / ADDED, optional=True).items():
        mark = content in special
        options.added[int(number)] = token(
            {"content": content, "special": mark, "normalized": not mark}
        )
    for one in cached_json(folder / "tokenizer.json").get("added_tokens", []):
        options.added[int(one["id"])] = token(one)


def token(value: Any) -> Any:
    """A token of the Rust library, of a text or of a record with `content`.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, AddedToken):
        return value
    if isinstance(value, str):
        return AddedToken(value, special=True, normalized=False)
    if isinstance(value, dict) and isinstance(value.get("content"), str):
        flags = {name: bool(value[name]) for name in FLAGS if name in value}
        return AddedToken(value["content"], **flags)
    raise ValueError(f"{value!r} is no token: expected a text, or an object with content")


def text(value: Any) -> str | None:
    """The text of a token in any of the ways in which files write it."""
    if isinstance(value, dict):
        value = value.get("content")
    return getattr(value, "content", value)


def add_tokens(inner: Any, options: Options, extra: Iterable[Any]) -> None:
    """Adds tokens as PyTorch's tokenizers do: those with ids in their order, those of roles, the
    rest; what the vocabulary has keeps its id.

    Raises:
        ValueError: a token gets another id than the one that the files give it.
    """
    listed = [one for _, one in sorted(options.added.items())]
    known = {one.content for one in inner.get_added_tokens_decoder().values()}
    known |= {one.content for one in listed}
    roles = [options.values.get(f"{role}_token") for role in ROLES]
    named = {text(one) for one in roles}
    for one in [*roles, *extra]:
        if one is not None and text(one) not in known:
            listed.append(token(one))
    for one in listed:
        one.special = one.special or one.content in named
    inner.add_tokens(listed)
    for number, one in options.added.items():
        if one.content and inner.token_to_id(one.content) != number:
            raise ValueError(
                f"the files have {one.content!r} at {number}; its id here is "
                f"{inner.token_to_id(one.content)}: the vocabulary is not the one they were "
                "written for"
            )


@functools.lru_cache(maxsize=1)
def cached_json(file: Path) -> dict[str, Any]:
    """The object in a tokenizer.json, which is long and read several times; not to be changed. Who
    loads a tokenizer clears the cache before and after.

    Raises:
        ValueError: it is not JSON, or no object.
    """
    return read_json(file, optional=True)
