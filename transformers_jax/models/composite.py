"""Configs whose parts are configs of families of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, ClassVar

from transformers_jax.models import load_config
from transformers_jax.models.config import FamilyConfig


class CompositeConfig(FamilyConfig):
    """A config with configs inside (`PARTS`), each a config or the content of its config.json.

    Class attributes:
        KINDS: the parts that are of one kind whatever their `model_type` says.
    """

    KINDS: ClassVar[Mapping[str, type[FamilyConfig]]] = {}

    @classmethod
    def from_dict(cls, values, *, ignore=()):
        inner = {
            name: cls.read(name, values[name], ignore)
            for name in cls.PARTS
            if isinstance(values.get(name), Mapping)
        }
        return super().from_dict({**values, **inner}, ignore=ignore)

    @classmethod
    def read(cls, name: str, values: Mapping[str, Any], ignore: Iterable[str] = ()) -> FamilyConfig:
        """The config of a part, of the content of its config.json."""
        kind = cls.KINDS.get(name)
        if kind is None:
            return load_config(values, ignore=ignore)
        return kind.from_dict(values, ignore=ignore)

    def __post_init__(self):
        for name in self.PARTS:
            if isinstance(values := getattr(self, name), Mapping):
                object.__setattr__(self, name, self.read(name, values))
        super().__post_init__()

    def to_dict(self):
        return super().to_dict() | {name: getattr(self, name).to_dict() for name in self.PARTS}

    def part(self, head):
        own = {} if head in self.HEADS else {n: getattr(self, n) for n in self.PARTS}
        return next((inner for inner in own.values() if head in inner.HEADS), self)


def words_of(config: FamilyConfig) -> FamilyConfig | None:
    """The config that says the vocabulary: this one, or that of the last of its parts which has
    one; None: there is none."""
    if any(field.name == "vocab_size" for field in fields(config)):
        return config
    found = (words_of(getattr(config, name)) for name in reversed(config.PARTS))
    return next((one for one in found if one is not None), None)


def with_words(config: FamilyConfig, **changes: Any) -> FamilyConfig:
    """The config with other values of what belongs to its vocabulary, such as `vocab_size` and
    `pad_token_id`: each where `words_of` has it, else in the whole."""
    own = words_of(config)
    if own is config or own is None:
        return config.replace(**changes)
    inner = {name: value for name, value in changes.items() if hasattr(own, name)}
    whole = {name: value for name, value in changes.items() if name not in inner}
    name = next(n for n in reversed(config.PARTS) if words_of(getattr(config, n)) is not None)
    return config.replace(**{name: with_words(getattr(config, name), **inner)}, **whole)
