"""Classes whose tokenizers PyTorch transformers writes in Python: no tokenizer.json holds them.

M2M-100 and Marian look the pieces of SentencePiece models up in a vocabulary of their own;
BlenderBot-small writes the ends of words its own way; ByT5 and Perceiver have the bytes of a text
and no file; ESM knows residues and refuses other letters.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from transformers_jax.data import sentencepiece
from transformers_jax.data.classes import characters, languages, residues
from transformers_jax.data.classes.make import Loaded, put_language, put_template
from transformers_jax.data.classes.models import assembled
from transformers_jax.data.classes.options import ROLES, Options, add_tokens, token
from transformers_jax.data.classes.renumbered import Renumbered
from transformers_jax.data.classes.table import ANGLES, Template, sentinels
from transformers_jax.data.classes.vocabulary import byte_symbols
from transformers_jax.json_files import parse_json

CODE, UNKNOWN_CODE = "\ue000", "\ue001"  # stand for Marian's language codes at the start of a text
NOTHING = "\ue002"  # with a number, the name of an id that no text gives


@dataclass(frozen=True)
class SlowClass:
    """A class: what it reads, and (folder, options) -> a tokenizer."""

    files: tuple[str, ...]
    build: Callable[[Path, Options], Loaded]


def _files(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise ValueError(f"{missing[0]} is not beside it")
    return {name: (folder / name).read_bytes() for name in names}


def _ids(content: bytes) -> dict[str, int]:
    ids = parse_json(content, "vocab.json")
    if not isinstance(ids, dict) or not all(isinstance(number, int) for number in ids.values()):
        raise ValueError("vocab.json is no object of tokens and their ids")
    return ids


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


def _special(options: Options, codes: Iterable[str] = ()) -> dict[str, Any]:
    """text -> special token, of roles, files and languages."""
    texts = {*codes, *(token(one).content for one in options.extra or [])}
    texts |= {text for role in ROLES if (text := options.token(role))}
    listed = {one.content: one for one in options.added.values()}
    return {text: listed.get(text) or token(text) for text in sorted(texts | listed.keys())}


def _looked_up(
    model: sentencepiece.Model, known: dict[int, str], options: Options, codes: set[str]
) -> Any:
    """The tokenizer of a SentencePiece model with the ids of a vocabulary, and its special tokens.

    Pieces that are not in the vocabulary are numbered behind it, for `Renumbered` to find.
    """
    if any(kind == sentencepiece.USER for _, _, kind in model.pieces):
        raise ValueError("its SentencePiece model has symbols of a user, which its class has not")
    special = _special(options, codes)
    own = {
        piece: (score, kind)
        for piece, score, kind in model.pieces
        if kind in (sentencepiece.NORMAL, sentencepiece.UNUSED)
    }
    known_pieces = {*known.values()}
    rest = [piece for piece in own if piece not in known_pieces]
    numbered = known | dict(enumerate(rest, max(known) + 1))
    unknown = next((n for n, piece in known.items() if piece == options.token("unk")), None)
    if unknown is None:
        raise ValueError(f"{options.token('unk')!r}, the token of unknown words, is not in it")
    moved = sentencepiece.Model(**{**vars(model), "pieces": []})
    for number in range(max(numbered) + 1):
        piece = numbered.get(number, "")
        kind = sentencepiece.UNKNOWN if number == unknown else sentencepiece.CONTROL
        if piece in special:
            moved.pieces.append((piece, 0.0, kind))
        elif piece in own and number != unknown:
            moved.pieces.append((piece, *own[piece]))
        else:  # such as no text has
            moved.pieces.append((f"{NOTHING}{number}", 0.0, kind))
    inner = sentencepiece.tokenizer_of(moved)
    inner.add_special_tokens([*special.values()])
    return inner


def _joined(model: sentencepiece.Model, space: str) -> Callable[[list[str], list[bool]], str]:
    """Pieces as text: what the model joins, with special tokens between."""

    def of_pieces(pieces: list[str]) -> str:
        text = ""
        for number, piece in enumerate(pieces):
            first = not text and (model.remove_extra_whitespaces or number == 0)
            prefix = model.add_dummy_prefix or model.remove_extra_whitespaces
            text += piece.removeprefix("▁") if first and prefix else piece
        return text.replace("▁", " ")

    def join(tokens: list[str], special: list[bool]) -> str:
        text = ""
        for is_special, group in itertools.groupby(zip(tokens, special), operator.itemgetter(1)):
            part = [token for token, _ in group]
            text += "".join(token + space for token in part) if is_special else of_pieces(part)
        return text.strip()

    return join


def _m2m_100(folder: Path, options: Options) -> Loaded:
    """M2M-100: the language before a text, as __de__; its tokens are behind the vocabulary."""
    files = _files(folder, ("vocab.json", "sentencepiece.bpe.model"))
    ids, model = _ids(files["vocab.json"]), sentencepiece.parse(files["sentencepiece.bpe.model"])
    options.default({role: ANGLES[role] for role in ("bos", "eos", "sep", "pad", "unk")}, {})
    dictionary = options.get("language_codes", "m2m100")
    codes = {"m2m100": languages.M2M100, "wmt21": languages.WMT21}.get(dictionary)
    if codes is None:
        raise ValueError(f"language_codes={dictionary!r}: expected 'm2m100' or 'wmt21'")
    numbers = {code: number for number, code in enumerate(codes, len(ids))}
    spelled = {f"__{code}__": number for code, number in numbers.items()}
    known = _known(ids, options, spelled)

    def of_language(code: str) -> Renumbered:
        inner = _looked_up(model, known, options, {*spelled})
        put_language(inner, code, numbers, options, suffix=False)
        return Renumbered(inner, known, ids[options.token("unk") or ""], _joined(model, ""))

    target = options.get("tgt_lang")
    return Loaded(
        of_language(options.get("src_lang", "en")),
        options,
        languages=numbers,
        target=None if target is None else of_language(target),
        files=files,
    )


def _marian(folder: Path, options: Options) -> Loaded:
    """Marian: a model of pieces for each side; a text may start with a code, as >>fr<<."""
    apart = bool(options.get("separate_vocabs", False))
    names = ("vocab.json", "source.spm", "target.spm", *(["target_vocab.json"] * apart))
    files = _files(folder, names)
    options.default({role: ANGLES[role] for role in ("eos", "unk", "pad")}, {})
    sides: list[Renumbered] = []
    for name, words in (("source.spm", names[0]), ("target.spm", names[-1 if apart else 0])):
        ids, model = _ids(files[words]), sentencepiece.parse(files[name])
        known = _known(ids, options, {})
        codes = {piece for piece in ids if piece.startswith(">>") and piece.endswith("<<")}
        own = {piece for piece, _, _ in model.pieces} | codes
        marks = {f"{CODE}{code[1:]}": ids[code] for code in sorted(codes)} | {UNKNOWN_CODE: -1}
        marked = known | dict(enumerate(marks, max(known) + 1 + len(model.pieces)))
        inner = _looked_up(model, marked, options, {*marks})
        put_template(inner, Template("A eos", "A B eos"), options)
        alias = {number: marks[text] for number, text in marked.items() if marks.get(text, -1) >= 0}
        # with one vocabulary, ids of both sides are joined as the source's pieces are
        join = sides[0].join if sides and not apart else _joined(model, " ")
        surfaces = {piece: number for piece, number in ids.items() if piece not in own}
        unknown = ids[options.token("unk") or ""]
        mark = _mark_code(codes)
        sides.append(Renumbered(inner, known, unknown, join, alias, surfaces, mark))
    return Loaded(sides[0], options, target=sides[1], files=files)


def _mark_code(codes: set[str]) -> Callable[[str], str]:
    """A language code at the start of a text as a token that no other part of a text has."""

    def prepare(text: str) -> str:
        end = text.find("<<") + 2 if text.startswith(">>") else 1
        if end < 2:
            return text
        if text[:end] in codes:
            return f"{CODE}{text[1:]}"
        return UNKNOWN_CODE + " " * (end - 1) + text[end:]

    return prepare


# ------------------------------------------------------------ BlenderBot-small


def _blenderbot_small(folder: Path, options: Options) -> Loaded:
    """BlenderBot-small's: words in lower case, what goes on within a word ends with @@."""
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
        part: last + index if number is None else number
        for index, (part, number) in enumerate(spelled.items())
    }
    special = _special(options)
    table |= {text: number for number, text in known.items() if text in special}
    unknown = ids[options.token("unk") or ""]
    table[UNKNOWN_CODE] = max(table.values()) + 1
    model = models.BPE(
        table, merges, unk_token=UNKNOWN_CODE, end_of_word_suffix="</w>", fuse_unk=False
    )
    new_line = normalizers.Replace(Regex(r"(?<=[^\s\x1c-\x1f'])\n"), " __newln__ ")
    normalizer = normalizers.Sequence([new_line, normalizers.Lowercase()])
    spaces, words = Regex(r"[\s\x1c-\x1f]+"), Regex(r"'|[.,!?()]?[^.,!?()']+|[.,!?()]")
    split = pre_tokenizers.Split
    parts_of_text = [split(spaces, behavior="removed"), split(words, behavior="isolated")]
    inner = assembled(model, pre_tokenizers.Sequence(parts_of_text), None, normalizer)
    inner.add_special_tokens([*special.values()])
    join = lambda tokens, special: " ".join(tokens).replace("@@ ", "").strip()
    return Loaded(Renumbered(inner, known, unknown, join), options, files=files)


# ------------------------------------------------------------ bytes


def _byt5(folder: Path, options: Options) -> Loaded:
    """ByT5's: three special tokens, the 256 bytes, and the sentinels of T5."""
    options.values.setdefault("extra_ids", 125)
    roles = {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
    inner = _of_bytes(roles, {"lstrip": True, "rstrip": True}, options)
    add_tokens(inner, options, options.extra or sentinels(options))
    put_template(inner, Template("A eos", "A eos B eos"), options)
    return Loaded(inner, options)


def _perceiver(folder: Path, options: Options) -> Loaded:
    """Perceiver's: six special tokens, and the 256 bytes."""
    roles = {role: f"[{role.upper()}]" for role in ("pad", "bos", "eos", "mask", "cls", "sep")}
    inner = _of_bytes(roles, {}, options)
    add_tokens(inner, options, options.extra or [])
    put_template(inner, Template("cls A sep", "cls A sep B sep"), options)
    return Loaded(inner, options)


def _of_bytes(roles: dict[str, str], flags: dict[str, bool], options: Options) -> Any:
    """The bytes of a text, behind the special tokens of these roles, which have these flags."""
    options.default(roles, dict.fromkeys(roles, flags))
    front = [options.token(role) or roles[role] for role in roles]
    ids = {text: number for number, text in enumerate([*front, *byte_symbols()])}
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return assembled(models.BPE(ids, []), byte_level, decoders.ByteLevel())


CLASSES = {
    "M2M100Tokenizer": SlowClass(("vocab.json", "sentencepiece.bpe.model"), _m2m_100),
    "MarianTokenizer": SlowClass(("vocab.json", "source.spm", "target.spm"), _marian),
    "BlenderbotSmallTokenizer": SlowClass(("vocab.json", "merges.txt"), _blenderbot_small),
    "ByT5Tokenizer": SlowClass(("tokenizer_config.json",), _byt5),
    "PerceiverTokenizer": SlowClass(("tokenizer_config.json",), _perceiver),
    characters.NAME: SlowClass((characters.VOCAB,), characters.wav2vec2_ctc),
    residues.NAME: SlowClass((residues.VOCAB,), residues.esm),
}
