"""Configs whose parts are configs of families of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
