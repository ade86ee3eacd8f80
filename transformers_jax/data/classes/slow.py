"""Classes whose tokenizers PyTorch transformers writes in Python: no tokenizer.json holds them.

M2M-100 and Marian look the pieces of SentencePiece models up in a vocabulary of their own;
BlenderBot-small writes the ends of words its own way; ByT5 has the bytes of a text and no file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers_jax.data.classes import languages
from transformers_jax.data.classes.make import Made, put_frame, put_language
from transformers_jax.data.classes.options import ROLES, Options, add_tokens, token
from transformers_jax.data.classes.renumbered import Renumbered
from transformers_jax.data.classes.table import ANGLES, Frame, sentinels
from transformers_jax.data.sentencepiece import (
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER,
    Model,
    parse,
    tokenizer_of,
)

CODE, UNKNOWN_CODE = "\ue000", "\ue001"  # stand for Marian's language codes at the start of a text
NOTHING = "\ue002"  # with a number, the name of an id that no text gives


@dataclass(frozen=True)
class SlowClass:
    """A class: what it reads, and (folder, options) -> a tokenizer."""

    files: tuple[str, ...]
    build: Callable[[Path, Options], Made]


def _files(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    found = {}
    for name in names:
        if not (folder / name).is_file():
            raise ValueError(f"{name} is not beside it")
        found[name] = (folder / name).read_bytes()
    return found


def _ids(content: bytes) -> dict[str, int]:
    found = json.loads(content)
    if not isinstance(found, dict) or not all(isinstance(n, int) for n in found.values()):
        raise ValueError("vocab.json is no object of tokens and their ids")
    return found


# ------------------------------------------------------------ pieces in another's vocabulary


def _known(ids: dict[str, int], options: Options, more: dict[str, int]) -> dict[int, str]:
    """id -> token: a vocabulary, with the tokens that the files and the class add."""
    known = {number: piece for piece, number in (ids | more).items()}
    known |= {number: one.content for number, one in options.added.items()}
    texts = set(known.values())
    for one in options.extra or []:
        if token(one).content not in texts:
            known[max(known) + 1] = token(one).content
    return known


def _looked_up(model: Model, known: dict[int, str], options: Options, codes: set[str]) -> Any:
    """The tokenizer of a SentencePiece model with the ids of a vocabulary, and its special tokens.

    Pieces that are not in the vocabulary are numbered behind it, for `Renumbered` to find.
    """
    if any(kind == USER for _, _, kind in model.pieces):
        raise ValueError("its SentencePiece model has symbols of a user, which its class has not")
    special = {*codes, *(one.content for one in options.added.values())}
    special |= {text for role in ROLES if (text := options.token(role))}
    special |= {token(one).content for one in options.extra or []}
    own = {piece: (score, kind) for piece, score, kind in model.pieces if kind in (NORMAL, UNUSED)}
    rest = [piece for piece in own if piece not in set(known.values())]
    places = known | {max(known) + 1 + place: piece for place, piece in enumerate(rest)}
    unknown = next((n for n, piece in known.items() if piece == options.token("unk")), None)
    if unknown is None:
        raise ValueError(f"{options.token('unk')!r}, the token of unknown words, is not in it")
    moved = Model(**{**vars(model), "pieces": []})
    for number in range(max(places) + 1):
        piece = places.get(number, "")
        kind = UNKNOWN if number == unknown else CONTROL
        if piece in special:
            moved.pieces.append((piece, 0.0, kind))
        elif piece in own and number != unknown:
            moved.pieces.append((piece, *own[piece]))
        else:  # such as no text has
            moved.pieces.append((f"{NOTHING}{number}", 0.0, kind))
    inner = tokenizer_of(moved)
    shaped = {one.content: one for one in options.added.values()}
    inner.add_special_tokens([shaped.get(text, token(text)) for text in sorted(special)])
    return inner


def _joined(model: Model, space: str) -> Callable[[list[str], list[bool]], str]:
    """Pieces as text: what the model joins, with special tokens between."""

    def spoken(pieces: list[str]) -> str:
        text = ""
        for number, piece in enumerate(pieces):
            first = not text and (model.remove_extra_whitespaces or number == 0)
            prefix = model.add_dummy_prefix or model.remove_extra_whitespaces
            text += piece.removeprefix("▁") if first and prefix else piece
        return text.replace("▁", " ")

    def join(tokens: list[str], marks: list[bool]) -> str:
        text, pieces = "", list[str]()
        for one, mark in zip(tokens, marks):
            if mark:
                text, pieces = text + spoken(pieces) + one + space, []
            else:
                pieces.append(one)
        return (text + spoken(pieces)).strip()

    return join


def _m2m_100(folder: Path, options: Options) -> Made:
    """M2M-100: the language before a text, as __de__; its tokens lie behind the vocabulary."""
    files = _files(folder, ("vocab.json", "sentencepiece.bpe.model"))
    ids, model = _ids(files["vocab.json"]), parse(files["sentencepiece.bpe.model"])
    options.default({role: ANGLES[role] for role in ("bos", "eos", "sep", "pad", "unk")}, {})
    dictionary = options.get("language_codes", "m2m100")
    if dictionary not in ("m2m100", "wmt21"):
        raise ValueError(f"language_codes={dictionary!r}: expected 'm2m100' or 'wmt21'")
    codes = languages.M2M100 if dictionary == "m2m100" else languages.WMT21
    numbers = {code: len(ids) + place for place, code in enumerate(codes)}
    spelled = {f"__{code}__": number for code, number in numbers.items()}
    known = _known(ids, options, spelled)
    made = Made(None, options, languages=numbers, files=files)
    for side, default in (("src_lang", "en"), ("tgt_lang", None)):
        code = options.get(side, default)
        if code is None:
            continue
        if code not in numbers:
            raise ValueError(
                f"{side}={code!r} is none of its languages ({', '.join(codes[:6])}, ...)"
            )
        inner = _looked_up(model, known, options, {*spelled})
        put_language(inner, f"__{code}__", spelled, options, suffix=False)
        one = Renumbered(inner, known, ids[options.token("unk") or ""], join=_joined(model, ""))
        if side == "src_lang":
            made.inner = one
        else:
            made.target = one
    return made


def _marian(folder: Path, options: Options) -> Made:
    """Marian: a model of pieces for each side; a text may start with a code, as >>fr<<."""
    apart = bool(options.get("separate_vocabs", False))
    names = ("vocab.json", "source.spm", "target.spm", *(["target_vocab.json"] * apart))
    files = _files(folder, names)
    options.default({role: ANGLES[role] for role in ("eos", "unk", "pad")}, {})
    sides = []
    for name, words in (("source.spm", names[0]), ("target.spm", names[-1 if apart else 0])):
        ids, model = _ids(files[words]), parse(files[name])
        known = _known(ids, options, {})
        codes = {piece for piece in ids if piece.startswith(">>") and piece.endswith("<<")}
        own = {piece for piece, _, _ in model.pieces} | codes
        aside = {f"{CODE}{code[1:]}": ids[code] for code in codes} | {UNKNOWN_CODE: -1}
        last = max(known) + 1 + len(model.pieces)
        marked = known | {last + place: text for place, text in enumerate(aside)}
        inner = _looked_up(model, marked, options, {*aside})
        put_frame(inner, Frame("A eos", "A B eos"), options)
        alias = {number: aside[text] for number, text in marked.items() if aside.get(text, -1) >= 0}
        sides.append(
            Renumbered(
                inner,
                known,
                ids[options.token("unk") or ""],
                alias=alias,
                surfaces={piece: number for piece, number in ids.items() if piece not in own},
                ready=_code_aside(codes),
                join=_joined(model, " "),
            )
        )
    if not apart:  # ids of both sides are read with the target's pieces, as those are of one kind
        sides[1].join = sides[0].join
    return Made(sides[0], options, target=sides[1], files=files)


def _code_aside(codes: set[str]) -> Callable[[str], str]:
    """A language code at the start of a text as a token that no other place of a text has."""

    def ready(text: str) -> str:
        end = text.find("<<") + 2 if text.startswith(">>") else 1
        if end < 2:
            return text
        if text[:end] in codes:
            return f"{CODE}{text[1:]}"
        return UNKNOWN_CODE + " " * (end - 1) + text[end:]

    return ready


# ------------------------------------------------------------ BlenderBot-small


def _blenderbot_small(folder: Path, options: Options) -> Made:
    """BlenderBot-small's: words in lower case, what goes on within a word ends with @@."""
    import tokenizers
    from tokenizers import Regex, models, normalizers, pre_tokenizers

    files = _files(folder, ("vocab.json", "merges.txt"))
    ids = _ids(files["vocab.json"])
    options.default({"bos": "__start__", "eos": "__end__", "unk": "__unk__", "pad": "__null__"}, {})
    known = _known(ids, options, {})
    lines = files["merges.txt"].decode("utf-8").split("\n")[1:-1]
    merges = [(pair[0], pair[1]) for line in lines if len(pair := line.split()) == 2]
    parts = {part for pair in merges for part in (*pair, "".join(pair))}
    for char in {char for piece in ids for char in piece.removesuffix("@@")}:
        parts |= {char, f"{char}</w>"}
    spelled = {
        part: ids.get(part.removesuffix("</w>") if part.endswith("</w>") else f"{part}@@")
        for part in sorted(parts)
    }
    last = max(known) + 1
    table = {
        part: last + place if number is None else number
        for place, (part, number) in enumerate(spelled.items())
    }
    special = {text for role in ROLES if (text := options.token(role))}
    special |= {one.content for one in options.added.values()}
    special |= {token(one).content for one in options.extra or []}
    table |= {text: number for number, text in known.items() if text in special}
    unknown = ids[options.token("unk") or ""]
    table[UNKNOWN_CODE] = max(table.values()) + 1
    model = models.BPE(
        table, merges, unk_token=UNKNOWN_CODE, end_of_word_suffix="</w>", fuse_unk=False
    )
    inner = tokenizers.Tokenizer(model)
    space = r"[\s\x1c-\x1f]"
    inner.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"(?<=[^\s\x1c-\x1f'])\n"), " __newln__ "),
            normalizers.Lowercase(),
        ]
    )
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(f"{space}+"), behavior="removed"),
            pre_tokenizers.Split(Regex(r"'|[.,!?()]?[^.,!?()']+|[.,!?()]"), behavior="isolated"),
        ]
    )
    shaped = {one.content: one for one in options.added.values()}
    inner.add_special_tokens([shaped.get(text, token(text)) for text in sorted(special)])
    join = lambda tokens, marks: " ".join(tokens).replace("@@ ", "").strip()
    return Made(Renumbered(inner, known, unknown, join=join), options, files=files)


# ------------------------------------------------------------ ByT5


def _byt5(folder: Path, options: Options) -> Made:
    """ByT5's: three special tokens, the 256 bytes, and the sentinels of T5."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    options.values.setdefault("extra_ids", 125)
    roles = {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
    options.default(roles, {role: {"lstrip": True, "rstrip": True} for role in roles})
    front = [options.token(role) or roles[role] for role in roles]
    letters = _letters()
    ids = {text: number for number, text in enumerate([*front, *letters])}
    inner = tokenizers.Tokenizer(models.BPE(ids, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    extra = options.extra if options.extra else sentinels(options)
    add_tokens(inner, options, extra)
    put_frame(inner, Frame("A eos", "A eos B eos"), options)
    return Made(inner, options)


def _letters() -> list[str]:
    """The characters that stand for the bytes 0 to 255 in byte-level BPE: printable ones for
    themselves, the rest from U+0100 on (Radford et al. 2019)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in shown]
    return [chr(byte if byte in shown else 0x100 + rest.index(byte)) for byte in range(256)]


CLASSES = {
    "M2M100Tokenizer": SlowClass(("vocab.json", "sentencepiece.bpe.model"), _m2m_100),
    "MarianTokenizer": SlowClass(("vocab.json", "source.spm", "target.spm"), _marian),
    "BlenderbotSmallTokenizer": SlowClass(("vocab.json", "merges.txt"), _blenderbot_small),
    "ByT5Tokenizer": SlowClass(("tokenizer_config.json",), _byt5),
}
