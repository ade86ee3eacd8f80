"""Tokenizers from files: every form in which they are published, by what lies in a folder.

tokenizer.json; vocab.json with merges.txt (byte pairs); vocab.txt (WordPiece); *.model
(SentencePiece). Beside them tokenizer_config.json and special_tokens_map.json say which special
tokens there are and what for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers_jax.data.learned import train_tokenizer
from transformers_jax.data.tokenizer import KINDS, NAMED, Tokenizer, refusing
from transformers_jax.data.tokenizer_settings import settings
from transformers_jax.hub.download import is_id, resolve

__all__ = ["KINDS", "Tokenizer", "load_tokenizer", "train_tokenizer"]

CONFIG, MAP = "tokenizer_config.json", "special_tokens_map.json"
FILES = "tokenizer.json, vocab.json with merges.txt, vocab.txt, or a SentencePiece .model"
USUAL = {  # what special tokens are called where no file says what they are for
    "pad": ("<pad>", "[PAD]"),
    "unk": ("<unk>", "[UNK]"),
    "bos": ("<s>", "<bos>", "[BOS]"),
    "eos": ("</s>", "<eos>", "[EOS]", "<|endoftext|>"),
    "cls": ("[CLS]",),
    "sep": ("[SEP]",),
    "mask": ("[MASK]", "<mask>"),
}


def load_tokenizer(path: str | Path, **hub: Any) -> Tokenizer:
    """The tokenizer of a run, of a model's folder, of one of its files, or of a model on the hub
    (`hub`: `revision`, `token`, `cache_dir`, `local_files_only`, as in `from_pretrained`).

    Roles come from tokenizer_config.json, else from special_tokens_map.json; without either,
    special tokens with the usual names have the usual roles. A role whose token is not in the
    vocabulary is not had.

    Raises:
        ValueError: nothing there that is known, or a file that cannot be read.
        ConnectionError: a model's id, while the hub cannot be reached.
    """
    if hub or is_id(path) or not isinstance(path, (str, Path)):
        path = resolve(path, **hub)
    path = Path(path).expanduser()
    file = _find(path)
    config = {**_read_json(file.with_name(MAP)), **_read_json(file.with_name(CONFIG))}
    with refusing(f"{file} is not a tokenizer"):
        inner = _read(file, config)
        inner.no_padding()  # a tokenizer.json may fill or cut every row to one length
        inner.no_truncation()
    special = {role: text for role in NAMED if (text := _text(config.get(f"{role}_token")))}
    if not special and not config:
        added = [t.content for t in inner.get_added_tokens_decoder().values() if t.special]
        for role, names in USUAL.items():
            if found := [name for name in names if name in added]:
                special[role] = found[0]
    kind = config.get("kind", "loaded")
    with refusing(f"{file} is not a tokenizer"):
        return Tokenizer(
            inner,
            kind if kind in KINDS else "loaded",
            special,
            _chat(file, config),
            **settings(config),
        )


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    if path.is_dir():
        if (path / "tokenizer.json").is_file():
            return path / "tokenizer.json"
        if (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
            return path / "vocab.json"
        if (path / "vocab.txt").is_file():
            return path / "vocab.txt"
        models = sorted(path.glob("*.model"))
        if len(models) == 1:
            return models[0]
        if models:
            names = ", ".join(model.name for model in models)
            raise ValueError(f"{path} has several SentencePiece models ({names}); name one")
        path = path / "tokenizer.json"
    raise ValueError(f"{path} does not exist; a tokenizer is {FILES}, or the folder of one")


def _read(file: Path, config: dict[str, Any]) -> Any:
    """A tokenizer of the Rust library."""
    import tokenizers

    if file.suffix == ".model":
        from transformers_jax.data.sentencepiece import read_model

        return _with_added(read_model(file, config), config)
    if file.name == "vocab.txt" or file.suffix == ".txt":
        return _with_added(_word_pieces(file, config), config)
    if file.name == "vocab.json":
        return _with_added(_byte_pairs(file, config), config)
    return tokenizers.Tokenizer.from_file(str(file))


def _word_pieces(file: Path, config: dict[str, Any]) -> Any:
    """BERT's: one token a line, its line the id."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    lines = file.read_text(encoding="utf-8").split("\n")
    lines = [line.rstrip("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
    vocabulary = {token: number for number, token in enumerate(lines)}
    usual = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
    roles = {role: _text(config.get(f"{role}_token")) or token for role, token in usual.items()}
    if roles["unk"] not in vocabulary:
        raise ValueError(f"there is no line {roles['unk']}, the token of unknown words")
    inner = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=roles["unk"]))
    inner.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"),
        lowercase=config.get("do_lower_case", True),
    )
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    present = [token for token in roles.values() if token in vocabulary]
    inner.add_special_tokens(present)
    if {roles["cls"], roles["sep"]} <= set(present):
        cls, sep = roles["cls"], roles["sep"]
        inner.post_processor = processors.TemplateProcessing(
            single=f"{cls} $A {sep}",
            pair=f"{cls} $A {sep} $B:1 {sep}:1",
            special_tokens=[(cls, vocabulary[cls]), (sep, vocabulary[sep])],
        )
    for role in roles:  # BERT's names need no file that says so
        config.setdefault(f"{role}_token", roles[role])
    return inner


def _byte_pairs(file: Path, config: dict[str, Any]) -> Any:
    """GPT-2's and RoBERTa's: words in bytes, and the merges in their order."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors

    merges = file.with_name("merges.txt")
    if not merges.is_file():
        raise ValueError("merges.txt is not beside it")
    vocabulary = json.loads(file.read_text(encoding="utf-8"))
    if any(token.endswith("</w>") for token in vocabulary):
        raise ValueError(
            "its tokens end with </w>: no byte-level BPE; save tokenizer.json with the library "
            "that it comes from"
        )
    space = bool(config.get("add_prefix_space", False))
    inner = tokenizers.Tokenizer(models.BPE.from_file(str(file), str(merges)))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    inner.decoder = decoders.ByteLevel()
    names = [_text(config.get(f"{role}_token")) for role in NAMED]
    present = [name for name in dict.fromkeys(names) if name in vocabulary]
    inner.add_special_tokens([*present, *(["<|endoftext|>"] * ("<|endoftext|>" in vocabulary))])
    cls, sep = _text(config.get("cls_token")), _text(config.get("sep_token"))
    if cls is not None and sep is not None and cls in vocabulary and sep in vocabulary:
        inner.post_processor = processors.RobertaProcessing(
            (sep, vocabulary[sep]), (cls, vocabulary[cls]), add_prefix_space=space
        )
    return inner


def _with_added(inner: Any, config: dict[str, Any]) -> Any:
    """The tokens that tokenizer_config.json adds, at their ids."""
    from tokenizers import AddedToken

    for number, token in sorted(
        (int(number), token) for number, token in config.get("added_tokens_decoder", {}).items()
    ):
        options = {
            name: token[name] for name in ("lstrip", "rstrip", "normalized") if name in token
        }
        added = AddedToken(token["content"], special=bool(token.get("special")), **options)
        (inner.add_special_tokens if added.special else inner.add_tokens)([added])
        if inner.token_to_id(added.content) != number:
            raise ValueError(
                f"{CONFIG} has {added.content!r} at {number}; it comes to lie at "
                f"{inner.token_to_id(added.content)}"
            )
    return inner


def _text(token: Any) -> str | None:
    """A token as the files write it: a text, or a record with `content`."""
    return token.get("content") if isinstance(token, dict) else token


def _chat(file: Path, config: dict[str, Any]) -> str | None:
    """The template, in a file of its own or in the config; of several, the one called default."""
    own = file.with_name("chat_template.jinja")
    if own.is_file():
        return own.read_text(encoding="utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):
        named = {one["name"]: one["template"] for one in found}
        return named.get("default", next(iter(named.values()), None))
    return found


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds {type(found).__name__}, not an object")
    return found
