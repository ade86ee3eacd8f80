"""What a model returns: Hugging Face's field names by attribute, by key and in `.items()`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax

from transformers_jax.spelling import nearest

ASKED = {  # how a call asks for fields
    "loss": "give labels= (where an answer is marked, start_positions= and end_positions=)",
    "hidden_states": "give output_hidden_states=True",
    "attentions": "give output_attentions=True",
    "router_logits": "give output_router_logits=True",
    "past_key_values": "give cache=, which comes back as .cache",
}


@jax.tree_util.register_pytree_with_keys_class
class Output(Mapping[str, Any]):
    """An immutable record, and a pytree. Fields that a call did not ask for are absent.

    Beside its fields, which are those of Hugging Face, a record with a loss has `loss_terms`:
    {name: (sum, count)}, of which the loss is the sum of sum / count. Otherwise they are None.

    >>> out = model(input_ids=ids)
    >>> out.logits, out["logits"], dict(out)
    >>> out[0], out[:2], out.to_tuple()  # the fields that are there, in their order
    """

    loss_terms: dict[str, tuple[Any, Any]] | None

    def __init__(self, *, loss_terms: dict[str, tuple[Any, Any]] | None = None, **fields: Any):
        object.__setattr__(self, "loss_terms", loss_terms)
        object.__setattr__(self, "_fields", {k: v for k, v in fields.items() if v is not None})

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_fields"][name]
        except KeyError:
            raise AttributeError(self._lacks(name)) from None

    def _lacks(self, name: Any) -> str:
        fields = self.__dict__.get("_fields", ())
        hint = ""
        if isinstance(name, str):  # encoder_hidden_states are asked for as hidden_states are
            kind = next((field for field in ASKED if name.endswith(field)), None)
            hint = nearest(name, fields) if kind is None else f"; {ASKED[kind]}"
        return f"this output has no {name!r}{hint}; it has {', '.join(fields)}"

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("an Output cannot be changed; make another one")

    def __getitem__(self, name: str | int | slice) -> Any:
        if isinstance(name, (int, slice)):
            return self.to_tuple()[name]
        if name not in self._fields:
            raise KeyError(self._lacks(name))
        return self._fields[name]

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are there, in their order."""
        return tuple(self._fields.values())

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        def show(value: Any) -> str:
            if isinstance(value, (tuple, list)):
                return f"({', '.join(map(show, value))})"
            shape = getattr(value, "shape", None)
            return type(value).__name__ if shape is None else f"{value.dtype}{list(shape)}"

        return f"Output({', '.join(f'{k}={show(v)}' for k, v in self._fields.items())})"

    def tree_flatten_with_keys(self):
        keys = tuple(self._fields)
        leaves = [(jax.tree_util.GetAttrKey(k), self._fields[k]) for k in keys]
        return [*leaves, (jax.tree_util.GetAttrKey("loss_terms"), self.loss_terms)], keys

    @classmethod
    def tree_unflatten(cls, keys, values):
        output = cls.__new__(cls)
        *fields, terms = values
        object.__setattr__(output, "loss_terms", terms)
        object.__setattr__(output, "_fields", dict(zip(keys, fields)))
        return output
