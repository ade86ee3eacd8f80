"""What the files beside a vocabulary say: options of the class, special and added tokens.

tokenizer_config.json says most. Where it does not list the added tokens with their ids
(`added_tokens_decoder`), as files before 2023 do not, special_tokens_map.json wins over it, and
added_tokens.json and tokenizer.json have the tokens and ids.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

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
        whole: whether there is a tokenizer.json, which has a frame of its own.
    """

    values: dict[str, Any] = field(default_factory=dict)
    added: dict[int, Any] = field(default_factory=dict)
    extra: list[Any] | None = None
    whole: bool = False

    def get(self, name: str, default: Any = None) -> Any:
        """An option, or its default where the files say nothing or null."""
        found = self.values.get(name)
        return default if found is None else found

    def token(self, role: str) -> str | None:
        """The text of a role's token."""
        return text(self.values.get(f"{role}_token"))

    def default(self, special: dict[str, str], shape: dict[str, dict[str, bool]]) -> None:
        """Special tokens of a class, for the roles that no file speaks of, and how those are found
        in a text of which the files say no more than the text."""
        for role, content in special.items():
            found = self.values.setdefault(f"{role}_token", content)
            if role in shape and isinstance(found, str):
                self.values[f"{role}_token"] = {"content": found, **shape[role]}


def read_options(folder: Path, given: dict[str, Any]) -> Options:
    """The options of the tokenizer in a folder; those that are given win.

    Raises:
        ValueError: one of the files is not JSON, or holds no object.
    """
    values = {**read_json(folder / CONFIG), **given}
    if "additional_special_tokens" in values and not values.get("extra_special_tokens"):
        values["extra_special_tokens"] = values.pop("additional_special_tokens")
    named = [
        values.pop(key)
        for key in [*values]
        if key.endswith("_token") and key.removesuffix("_token") not in ROLES
        if isinstance(values[key], (str, dict)) and text(values[key])
    ]
    found = Options(values, whole=(folder / "tokenizer.json").is_file())
    if "added_tokens_decoder" in values:
        listed = values["added_tokens_decoder"] or {}
        found.added = {int(number): token(one) for number, one in listed.items()}
    else:
        _older(folder, found, given)
    values = found.values
    extra = values.pop("extra_special_tokens", None)
    more = values.pop("additional_special_tokens", None)
    if isinstance(extra, dict):
        named, extra = [*named, *extra.values()], None
    if extra is None and more is not None:
        extra = more
    if extra is not None or named:
        found.extra = [token(one) for one in [*(extra or []), *named]]
    by_text = {one.content: one for one in found.added.values()}
    for role in ROLES:
        if values.get(f"{role}_token") is not None:
            one = values[f"{role}_token"]
            values[f"{role}_token"] = by_text.get(token(one).content, one)
    return found


def _older(folder: Path, found: Options, given: dict[str, Any]) -> None:
    """The files that list added tokens where tokenizer_config.json does not."""
    values = found.values
    for key, value in read_json(folder / MAP).items():
        if not given.get(key):
            values[key] = {**value, "special": True} if isinstance(value, dict) else value
    special = {text(values.get(f"{role}_token")) for role in ROLES}
    listed = values.get("extra_special_tokens")
    special |= {text(one) for one in (listed if isinstance(listed, list) else [])}
    for content, number in read_json(folder / ADDED).items():
        mark = content in special
        found.added[int(number)] = token(
            {"content": content, "special": mark, "normalized": not mark}
        )
    for one in read_whole(folder / "tokenizer.json").get("added_tokens", []):
        found.added[int(one["id"])] = token(one)


def token(found: Any) -> Any:
    """A token of the Rust library, of a text or of a record with `content`.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(found, AddedToken):
        return found
    if isinstance(found, str):
        return AddedToken(found, special=True, normalized=False)
    if isinstance(found, dict) and isinstance(found.get("content"), str):
        options = {name: bool(found[name]) for name in FLAGS if name in found}
        return AddedToken(found["content"], **options)
    raise ValueError(f"{found!r} is no token: expected a text, or an object with content")


def text(found: Any) -> str | None:
    """The text of a token in any of the ways in which files write it."""
    if isinstance(found, dict):
        found = found.get("content")
    return getattr(found, "content", found)


def add_tokens(inner: Any, options: Options, extra: Iterable[Any]) -> None:
    """Adds tokens as PyTorch's tokenizers do: those with ids in their order, those of roles, the
    rest; what the vocabulary has keeps its id.

    Raises:
        ValueError: a token comes to lie at another id than the one that the files give it.
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
                f"the files have {one.content!r} at {number}; it comes to lie at "
                f"{inner.token_to_id(one.content)}: the vocabulary is not the one they were "
                "written for"
            )


def read_json(file: Path) -> dict[str, Any]:
    """The object in a file; an empty one where there is no file."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds {type(found).__name__}, not an object")
    return found


def read_whole(file: Path) -> dict[str, Any]:
    """The object in a tokenizer.json, which is long and asked for several times; not to be changed.

    Raises:
        ValueError: it is not JSON, or no object.
    """
    if not file.is_file():
        return {}
    state = file.stat()
    return _kept(file, state.st_mtime_ns, state.st_size)


def forget_whole() -> None:
    """Frees what `read_whole` keeps."""
    _kept.cache_clear()


@functools.lru_cache(maxsize=1)
def _kept(file: Path, *stamps: int) -> dict[str, Any]:
    return read_json(file)
