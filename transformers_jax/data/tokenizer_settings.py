"""What tokenizer_config.json says of a tokenizer beyond its tokens: read, and written back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Side = Literal["left", "right"]
SIDES = ("left", "right")
UNBOUNDED = 10**9  # model_max_length of tokenizers that know no limit is 1e30
TYPED = (  # classes whose models tell the two texts of a pair apart by token types
    *("Bert", "BertJapanese", "Albert", "Electra", "Deberta", "DebertaV2", "RoFormer"),
    *("MobileBert", "SqueezeBert", "ConvBert", "LayoutLM", "Funnel", "Splinter", "XLNet"),
    *("Herbert", "Retribert", "RealmBert", "Rembert", "RemBert", "Lxmert", "FNet", "Tapas"),
)


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Tokenizer` that a tokenizer_config.json gives.

    Raises:
        ValueError: a side that is neither left nor right, or a length that is no number.
    """
    found: dict[str, Any] = {"config": dict(config)}
    for name in ("padding_side", "truncation_side"):
        if config.get(name) is not None:
            found[name] = check_side(name, config[name])
    length = config.get("model_max_length")
    if length is not None:
        if isinstance(length, bool) or not isinstance(length, (int, float)) or length < 1:
            raise ValueError(f"model_max_length={length!r} must be a number of tokens, at least 1")
        found["model_max_length"] = int(length) if length < UNBOUNDED else None
    name = config.get("tokenizer_class")
    found["tokenizer_class"] = name
    inputs = config.get("model_input_names")
    if inputs is not None:
        found["returns_types"] = "token_type_ids" in inputs
    elif name is not None and not generic(name):
        found["returns_types"] = plain(name) in TYPED
    return found


def plain(name: str) -> str:
    """"Bert" of BertTokenizer and BertTokenizerFast."""
    return name.removesuffix("Fast").removesuffix("Tokenizer")


def generic(name: str) -> bool:
    """Whether a class is the one of any tokenizer.json, and says nothing of its model."""
    return name in ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend")


def check_side(name: str, side: Any) -> Side:
    """The side, if it is one."""
    if side not in SIDES:
        raise ValueError(f"{name}={side!r}: expected 'left' or 'right'")
    return side
