"""What tokenizer_config.json says of a tokenizer beyond its tokens: read, and written back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from transformers_jax.data.classes.options import FLAGS, text
from transformers_jax.data.classes.table import GENERIC
from transformers_jax.data.wrapped import Wrapped

NAMED = ("pad", "unk", "bos", "eos", "cls", "sep", "mask")  # roles with a key of Hugging Face
OF_FILES = (  # keys about where a tokenizer was read from, which do not apply to a copy
    *("name_or_path", "tokenizer_file", "special_tokens_map_file", "vocab_file", "merges_file"),
    *("tokenizer_file_name", "chat_template"),
)
CLEANED = (  # a space goes before punctuation and the ends of short forms
    *((f" {end}", end) for end in (".", "?", "!", ",")),
    (" ' ", "'"),
    *((f" {end}", end) for end in ("n't", "'m", "'s", "'ve", "'re")),
)
Side = Literal["left", "right"]
SIDES = ("left", "right")
UNBOUNDED = 10**9  # model_max_length of tokenizers that know no limit is 1e30
TYPED = (  # classes whose models distinguish the texts of a pair by token types
    *("Bert", "BertJapanese", "Albert", "Electra", "Deberta", "DebertaV2", "RoFormer"),
    *("MobileBert", "SqueezeBert", "ConvBert", "LayoutLM", "Funnel", "Splinter", "XLNet"),
    *("Herbert", "Retribert", "RealmBert", "Rembert", "RemBert", "Lxmert", "FNet", "Tapas"),
)


def settings(config: Mapping[str, Any], tokenizer_class: str | None = None) -> dict[str, Any]:
    """The arguments of `Tokenizer` that a tokenizer_config.json gives.

    Args:
        tokenizer_class: in place of the one that it names.

    Raises:
        ValueError: a side that is neither left nor right, or a length that is no number.
    """
    settled: dict[str, Any] = {"config": dict(config)}
    for name in ("padding_side", "truncation_side"):
        if config.get(name) is not None:
            settled[name] = check_side(name, config[name])
    length = config.get("model_max_length")
    if length is not None:
        if isinstance(length, bool) or not isinstance(length, (int, float)) or length < 1:
            raise ValueError(f"model_max_length={length!r} must be a number of tokens, at least 1")
        settled["model_max_length"] = int(length) if length < UNBOUNDED else None
    name = tokenizer_class or config.get("tokenizer_class")
    settled["tokenizer_class"] = name
    inputs = config.get("model_input_names")
    if inputs is not None:
        settled["returns_types"] = "token_type_ids" in inputs
    elif name is not None and name not in GENERIC:
        settled["returns_types"] = name.removesuffix("Fast").removesuffix("Tokenizer") in TYPED
    return settled


def check_side(name: str, side: Any) -> Side:
    """The side, if it is one."""
    if side not in SIDES:
        raise ValueError(f"{name}={side!r}: expected 'left' or 'right'")
    return side


def written(tokenizer: Wrapped) -> dict[str, Any]:
    """tokenizer_config.json: what it said where the tokenizer came from, and what it is now."""
    old = tokenizer.config
    config = {name: value for name, value in old.items() if name not in OF_FILES}
    config.setdefault("clean_up_tokenization_spaces", False)
    config["tokenizer_class"] = tokenizer.tokenizer_class or "PreTrainedTokenizerFast"
    config["padding_side"] = tokenizer.padding_side
    config["truncation_side"] = tokenizer.truncation_side
    if tokenizer.model_max_length is not None:
        config["model_max_length"] = tokenizer.model_max_length
    if tokenizer.gives_types:
        names = config.get("model_input_names") or ["input_ids", "token_type_ids", "attention_mask"]
        config["model_input_names"] = names
    config["kind"] = tokenizer.kind
    for role, token in tokenizer.special.items():
        name = f"{role}_token"
        if role in NAMED and text(old.get(name)) != token:  # else its flags stay, too
            config[name] = token
    added = tokenizer.inner.get_added_tokens_decoder()
    names = ("content", *FLAGS)
    config["added_tokens_decoder"] = {
        str(n): {name: getattr(added[n], name) for name in names} for n in sorted(added)
    }
    named = {text(config.get(f"{role}_token")) for role in NAMED}
    listed = [text(token) for token in old.get("additional_special_tokens") or ()]
    more = [added[n].content for n in sorted(added) if added[n].special]
    if more := [token for token in dict.fromkeys([*listed, *more]) if token not in named]:
        config["additional_special_tokens"] = more
    if tokenizer.chat_template is not None:
        config["chat_template"] = tokenizer.chat_template
    return config


def cleaned(text: str) -> str:
    """A text without the spaces before punctuation and the ends of short forms."""
    for spaced, end in CLEANED:
        text = text.replace(spaced, end)
    return text
