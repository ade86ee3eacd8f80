"""Tokenizers from directories: built as their class does it, or refused.

The class is the one that tokenizer_config.json names, else config.json (`tokenizer_class`, then
`model_type`); data/classes/ has what each does. A tokenizer.json without any class is read as it
is, and so is a SentencePiece model, with the ids of its pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from transformers_jax.data.classes import make, options, slow, table
from transformers_jax.data.classes.options import CONFIG, Options
from transformers_jax.data.classes.table import CLASSES, GENERIC
from transformers_jax.data.classes.vocabulary import kind_of
from transformers_jax.data.learned import train_tokenizer
from transformers_jax.data.tokenizer import KINDS, MADE, Tokenizer
from transformers_jax.data.tokenizer_settings import settings
from transformers_jax.data.wrapped import refusing
from transformers_jax.hub.download import is_id, resolve
from transformers_jax.json_files import read_json
from transformers_jax.models import family_of

__all__ = ["KINDS", "MADE", "Tokenizer", "load_tokenizer", "train_tokenizer"]

Reader = tuple[Path, Callable[[Path, Options], make.Loaded], str | None]
JSON = "tokenizer.json"
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
UNSUPPORTED = {  # classes that need more than their files and this package, and what
    "BertJapaneseTokenizer": "MeCab or Sudachi, which cut Japanese into words",
    "PhobertTokenizer": "words joined by a segmenter of Vietnamese",
    "BertweetTokenizer": "a normalizer of tweets",
    **dict.fromkeys(
        ("XLMTokenizer", "FlaubertTokenizer", "TransfoXLTokenizer"), "Moses' tokenizer"
    ),
    **dict.fromkeys(("RoFormerTokenizer", "CpmTokenizer"), "jieba, which cuts Chinese into words"),
}


def load_tokenizer(
    path: str | Path,
    *,
    tokenizer_class: str | None = None,
    src_lang: str | None = None,
    tgt_lang: str | None = None,
    **hub: Any,
) -> Tokenizer:
    """The tokenizer of a run, of a model's folder, of one of its files, or of a model on the hub
    (`hub`: `revision`, `token`, `cache_dir`, `local_files_only`, as in `from_pretrained`).

    It is built as its class does it: numbering, normalizer, template, special tokens, sides. What
    the files say wins over the class. A role whose token is not in the vocabulary is left out.

    Args:
        tokenizer_class: the class, such as "BertTokenizer", where no file names it, or in place of
            the one that they name; "PreTrainedTokenizerFast" reads tokenizer.json as it is.
        src_lang, tgt_lang: languages of a translation model, as its files write them ("de_DE",
            "deu_Latn", "de"). `tokenizer.target` is then for texts of the target language.

    Raises:
        ValueError: nothing there that is known, a class that is missing or not named, or a file
            that cannot be read.
        ConnectionError: a model's id, while the hub cannot be reached.
    """
    if hub or is_id(path) or not isinstance(path, (str, Path)):
        path = resolve(path, **hub)
    path = Path(path).expanduser()
    folder = path.parent if path.is_file() else path
    options.cached_json.cache_clear()
    name, named = _class_of(folder, tokenizer_class)
    languages = {"src_lang": src_lang, "tgt_lang": tgt_lang}
    languages = {key: code for key, code in languages.items() if code is not None}
    file, build, name = _reader(path, name, named)
    config = {**read_json(folder / CONFIG, optional=True), **languages}
    with refusing(f"{file} is not a tokenizer"):
        loaded = build(file, options.read_options(folder, languages))
        options.cached_json.cache_clear()
        for inner in (loaded.inner, loaded.target):
            if inner is not None:
                inner.no_padding()  # a tokenizer.json may fill or cut every row to one length
                inner.no_truncation()
        settled = {"padding_side": loaded.padding_side, **settings(config, name)}
        special = _special(loaded, bool(config) or (folder / options.MAP).is_file())
        kind = config["kind"] if config.get("kind") in MADE else "loaded"
        of = lambda inner, **more: Tokenizer(
            inner, kind, special, _chat(file, config), **settled, **more
        )
        target = None if loaded.target is None else of(loaded.target)
        tokenizer = of(loaded.inner, languages=loaded.languages, target=target, files=loaded.files)
    if languages and not loaded.languages:
        raise ValueError(
            f"{file}: {name} has no languages, so {' and '.join(languages)} mean nothing; leave "
            f"{'them' if len(languages) > 1 else 'it'} out"
        )
    return tokenizer


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder has one of the files of a tokenizer."""
    named = any((folder / name).is_file() for name in (JSON, "vocab.json", "vocab.txt"))
    return named or any(folder.glob("*.model"))


def _class_of(folder: Path, tokenizer_class: str | None) -> tuple[str | None, bool]:
    """The name of the class, without "Fast" (None where there is none), and whether the caller or
    a file names it, not only the model's type."""
    config = read_json(folder / CONFIG, optional=True)
    model = read_json(folder / "config.json", optional=True)
    kind = model.get("model_type")
    if kind is None and "architectures" in model:  # a config.json of 2019
        kind = family_of(model["architectures"] or ())
    if kind == "encoder-decoder":
        kind = (model.get("encoder") or {}).get("model_type")
    if tokenizer_class is None and kind in table.GENERIC_MODELS and (folder / JSON).is_file():
        return GENERIC[0], True
    named = tokenizer_class or config.get("tokenizer_class") or model.get("tokenizer_class")
    name = named or table.CLASS_OF_MODEL.get(str(kind))
    if name is None or name in GENERIC:
        return name, True
    name = str(name).removesuffix("Fast")
    return table.ALIASES.get(name, name), named is not None


def _reader(path: Path, name: str | None, named: bool) -> Reader:
    """The file of a class, (file, options) -> its tokenizer, and the class."""
    folder = path.parent if path.is_file() else path
    json_file = path if path.name.endswith(".json") and path.name != "vocab.json" else None
    if json_file is None and not path.is_file() and (folder / JSON).is_file():
        json_file = folder / JSON
    if name in slow.CLASSES:
        one = slow.CLASSES[name]
        return folder / one.files[0], lambda file, options: one.build(folder, options), name
    if name in UNSUPPORTED:
        raise ValueError(f"{name} needs {UNSUPPORTED[name]}; {_remedy(json_file)}")
    if name in CLASSES:
        one = CLASSES[name]
        file = json_file or _vocabulary(path, one.files, name)
        if json_file is None or _of_kind(json_file, one, named):
            return file, partial(make.of_class, one), name
    elif json_file is None and name not in (None, *GENERIC):
        raise ValueError(
            f"{folder} names the class {name}, which is not supported, and has no "
            f"{JSON}; {_remedy(None)}"
        )
    if json_file is not None and json_file.is_file():
        name = None if name is None else GENERIC[0]
        return json_file, make.generic, name
    return _without_class(path)


def _remedy(json_file: Path | None) -> str:
    if json_file is not None:
        return (
            f"{json_file.name} is read as it is with tokenizer_class='PreTrainedTokenizerFast', "
            "which gives other ids where the class did more"
        )
    return (
        "cut texts with PyTorch transformers and give ids, or pass tokenizer_class=, one of "
        f"{', '.join(sorted({*CLASSES, *slow.CLASSES}))}"
    )


def _vocabulary(path: Path, files: tuple[str, ...], name: str | None) -> Path:
    if path.is_file():
        if Path(files[0]).suffix != path.suffix:
            raise ValueError(f"{name} reads {' with '.join(files)}, not {path.name}")
        return path
    if (path / files[0]).is_file():
        return path / files[0]
    models = sorted(path.glob("*.model")) if files[0].endswith(".model") else []
    if len(models) == 1:
        return models[0]
    names = " with ".join(files)
    raise ValueError(f"{path} has neither {JSON} nor {names}, which {name} reads")


def _without_class(path: Path) -> Reader:
    """A SentencePiece model, which needs no class; nothing else does without one."""
    models = [path] if path.suffix == ".model" else sorted(path.glob("*.model"))
    if len(models) == 1 and models[0].is_file():
        return models[0], make.of_pieces, None
    if models:
        names = ", ".join(model.name for model in models)
        raise ValueError(f"{path} has several SentencePiece models ({names}); name one")
    files = [file for file in (path, path / "vocab.json", path / "vocab.txt") if file.is_file()]
    if files:
        raise ValueError(
            f"{files[0]} is a vocabulary, and nothing says of which class: name it in "
            f"{CONFIG} (tokenizer_class) or config.json (model_type), or pass tokenizer_class= "
            "('BertTokenizer' lower-cases and puts [CLS] and [SEP] around, 'GPT2Tokenizer' puts "
            "nothing)"
        )
    raise ValueError(f"{path / JSON} does not exist; a tokenizer is {FILES}, or the folder of one")


def _of_kind(file: Path, one: table.TokenizerClass, named: bool) -> bool:
    """Whether a tokenizer.json has a model of the class's kind; otherwise it is read as it is.

    Raises:
        ValueError: it has not, and its directory names the class.
    """
    kind = kind_of(file)
    if kind == one.kind:  # a class of SentencePiece's does not cut bytes (Llama 3 is one of those)
        steps = repr([options.cached_json(file).get(key) for key in ("pre_tokenizer", "decoder")])
        return one.name != "LlamaTokenizer" or "'ByteLevel'" not in steps
    if named and kind in ("BPE", "Unigram", "WordPiece", "WordLevel"):
        raise ValueError(
            f"{file} has a {kind} model, and {one.name} has {one.kind}; {_remedy(file)}"
        )
    return False


def _special(loaded: make.Loaded, named: bool) -> dict[str, str]:
    """role -> token; by the usual names where no file says what tokens are for."""
    special = {role: text for role in options.ROLES if (text := loaded.options.token(role))}
    if named or special:
        return special
    added = loaded.inner.get_added_tokens_decoder().values()
    texts = [token.content for token in added if token.special]
    usual = {role: [name for name in names if name in texts] for role, names in USUAL.items()}
    return {role: names[0] for role, names in usual.items() if names}


def _chat(file: Path, config: dict[str, Any]) -> str | None:
    """The template, in a file of its own or in the config; of several, the one called default."""
    own = file.with_name("chat_template.jinja")
    if own.is_file():
        return own.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):
        by_name = {one["name"]: one["template"] for one in template}
        return by_name.get("default", next(iter(by_name.values()), None))
    return template
