"""The classes of tokenizers: one record each, and the names by which directories refer to them.

A record says what the files of a class do not: which file it reads, how it numbers the pieces of a
SentencePiece model, its special tokens, what it puts around a text or a pair, and on which side it
pads. Classes are those of Hugging Face's transformers, version 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from transformers_jax.data.classes import languages
from transformers_jax.data.classes import models as kinds
from transformers_jax.data.classes.models import Unigrams, byte_pairs, word_pieces
from transformers_jax.data.classes.options import Options, text
from transformers_jax.data.classes.vocabulary import Scored, Vocab

MERGED, LINES = ("vocab.json", "merges.txt"), ("vocab.txt",)
SPIECE, FAIRSEQ = ("spiece.model",), ("sentencepiece.bpe.model",)


@dataclass(frozen=True)
class Frame:
    """What is put around a text and around a pair: roles of tokens, "A" and "B" for the texts; ":1"
    and ":2" behind one are its token type.

    `trim` is set where offsets of tokens leave out the spaces before words (RoBERTa).
    """

    single: str
    pair: str
    trim: bool = False


Extra = Callable[[list[Any] | None, Options], list[Any]]
BERT = Frame("cls A sep", "cls A sep B:1 sep:1")
DEBERTA = Frame("cls A sep", "cls A sep sep B sep")
ROBERTA = replace(DEBERTA, trim=True)
FAIR = Frame("bos A eos", "bos A eos eos B eos")


@dataclass(frozen=True)
class TokenizerClass:
    """How a class makes a tokenizer of its files.

    Attributes:
        models: values of `model_type` whose tokenizers are of this class.
        files: what it reads where there is no tokenizer.json; the first is the vocabulary.
        build: (vocabulary, options) -> a tokenizer of the Rust library, still without frame.
        special: role -> its token, where the files name none.
        shape: role -> how its token is found in a text, where the files give a text alone.
        frame: what is put around a text; None: as tokenizer.json or `add_bos_token` say.
        number: pieces of a SentencePiece model, in the order of the class's ids.
        extra: (tokens that files or model name, options) -> special tokens without a role.
        languages: codes of its languages, whose tokens are the codes.
        default_language: the source language where the files name none.
        suffix: whether the language stands behind the text; else before it.
        padding_side: where rows are padded.
        alike: other classes that do the same.
    """

    name: str
    models: str
    files: tuple[str, ...]
    build: Callable[[Vocab, Options], Any]
    special: dict[str, str]
    frame: Frame | None = None
    shape: dict[str, dict[str, bool]] = field(default_factory=dict)
    number: Callable[[Scored, Options], Scored] = lambda pieces, options: pieces
    extra: Extra = lambda named, options: named or []
    languages: tuple[str, ...] = ()
    default_language: str = ""
    suffix: bool = False
    padding_side: str = "right"
    alike: str = ""

    @property
    def kind(self) -> str:
        """The kind of the model of the Rust library, as tokenizer.json writes it."""
        if isinstance(self.build, Unigrams):
            return "Unigram"
        return "WordPiece" if self.build is word_pieces else "BPE"


Roles = dict[str, str]
BRACKETS: Roles = dict(unk="[UNK]", sep="[SEP]", pad="[PAD]", cls="[CLS]", mask="[MASK]")
ANGLES: Roles = dict(
    bos="<s>", eos="</s>", sep="</s>", cls="<s>", unk="<unk>", pad="<pad>", mask="<mask>"
)
MASK = {"mask": {"lstrip": True}}  # the space before a mask is part of it
ALL = {**{role: {} for role in ANGLES}, **MASK}


# ------------------------------------------------------------ numbering of SentencePiece's pieces


def _token(options: Options, role: str) -> tuple[str, float]:
    return (options.token(role) or ANGLES[role], 0.0)


def fairseq(pieces: Scored, options: Options) -> Scored:
    """fairseq's: <s> <pad> </s> <unk> in place of the model's <unk> <s> </s>, <mask> at the end."""
    front = [_token(options, role) for role in ("bos", "pad", "eos", "unk")]
    return [*front, *pieces[3:], _token(options, "mask")]


def camembert(pieces: Scored, options: Options) -> Scored:
    """CamemBERT's: four entries of fairseq's dictionary before fairseq's own, unused."""
    front = [("<s>NOTUSED", 0.0), _token(options, "pad"), ("</s>NOTUSED", 0.0)]
    front += [_token(options, "unk"), ("<unk>NOTUSED", -100.0)]
    return [*front, *pieces[1:], _token(options, "mask")]


def with_languages(codes: tuple[str, ...]) -> Callable[[Scored, Options], Scored]:
    """fairseq's, with a token for each language before <mask>."""

    def number(pieces: Scored, options: Options) -> Scored:
        *rest, mask = fairseq(pieces, options)
        return [*rest, *((code, 0.0) for code in codes), mask]

    return number


def nllb(pieces: Scored, options: Options) -> Scored:
    """NLLB's: <s> <pad> </s> <unk>, every piece that is none of them, the languages, <mask>."""
    front = [_token(options, role) for role in ("bos", "pad", "eos", "unk")]
    rest = [piece for piece in pieces if piece[0] not in dict(front)]
    codes = [(code, 0.0) for code in languages.NLLB]
    return [*front, *rest, *codes, _token(options, "mask")]


def pegasus(pieces: Scored, options: Options) -> Scored:
    """Pegasus': <pad> </s>, two masks and the unused tokens of its pretraining, up to `offset`."""
    sentence = options.get("mask_token_sent", "<mask_1>")
    masks = dict.fromkeys([sentence, options.token("mask") or "<mask_2>"])
    front = [_token(options, "pad"), _token(options, "eos"), *((mask, 0.0) for mask in masks)]
    return [*front, *_unused(options), *pieces[2:]]


def _unused(options: Options) -> Scored:
    return [(f"<unk_{n}>", -100.0) for n in range(2, int(options.get("offset", 103)))]


def t5(pieces: Scored, options: Options) -> Scored:
    """T5's: the sentinels behind the pieces, <extra_id_0> last."""
    return [*pieces, *((token, 0.0) for token in reversed(sentinels(options)))]


def sentinels(options: Options) -> list[str]:
    """<extra_id_0>, <extra_id_1>, ..."""
    return [f"<extra_id_{number}>" for number in range(int(options.get("extra_ids", 100)))]


def _t5_extra(named: list[Any] | None, options: Options) -> list[Any]:
    named = named or []
    has = any("<extra_id_" in str(text(token)) for token in named)
    return [*named, *([] if has else sentinels(options))]


def _pegasus_extra(named: list[Any] | None, options: Options) -> list[Any]:
    sentence = options.get("mask_token_sent", "<mask_1>")
    unused = [token for token, _ in _unused(options)]
    return [*([] if sentence in map(text, named or []) else [sentence]), *unused]


def _unless(*tokens: str) -> Extra:
    return lambda named, options: [*tokens] if named is None else named


# ------------------------------------------------------------ the classes


_MBART = TokenizerClass(
    "MBartTokenizer",
    "mbart",
    FAIRSEQ,
    Unigrams(3, kinds.no_steps),
    ANGLES,
    shape=MASK,
    number=with_languages(languages.MBART),
    extra=lambda named, options: [*languages.MBART, *(named or [])],
    languages=languages.MBART,
    default_language="en_XX",
    suffix=True,
)
END_OF_TEXT = dict.fromkeys(("unk", "bos", "eos"), "<|endoftext|>")
CLS_SEP = {**BRACKETS, "bos": "[CLS]", "eos": "[SEP]"}
_BERT = TokenizerClass(
    "BertTokenizer",
    "bert electra nomic_bert",
    LINES,
    word_pieces,
    BRACKETS,
    BERT,
    alike="ElectraTokenizer MobileBertTokenizer ConvBertTokenizer",
)
_TABLE = (
    _BERT,
    replace(_BERT, name="DistilBertTokenizer", models="distilbert", alike=""),
    TokenizerClass(
        "MPNetTokenizer", "mpnet", LINES, word_pieces, {**ANGLES, "unk": "[UNK]"}, ROBERTA, ALL
    ),
    TokenizerClass("GPT2Tokenizer", "gpt2", MERGED, byte_pairs, END_OF_TEXT),
    TokenizerClass(
        "RobertaTokenizer",
        "roberta bart longformer led",
        MERGED,
        byte_pairs,
        ANGLES,
        ROBERTA,
        alike="BartTokenizer LEDTokenizer LongformerTokenizer MvpTokenizer",
    ),
    TokenizerClass("DebertaTokenizer", "deberta", MERGED, byte_pairs, CLS_SEP, DEBERTA),
    TokenizerClass(
        "BlenderbotTokenizer",
        "blenderbot",
        MERGED,
        partial(byte_pairs, space=True),
        ANGLES,
        shape={"mask": {"lstrip": True, "normalized": False}},
    ),
    TokenizerClass(
        "LlamaTokenizer",
        "",
        ("tokenizer.model",),
        kinds.llama_pairs,
        dict(unk="<unk>", bos="<s>", eos="</s>"),
        padding_side="left",
    ),
    TokenizerClass(
        "AlbertTokenizer",
        "albert",
        SPIECE,
        Unigrams(1, kinds.albert_steps, without_space="never"),
        {**CLS_SEP, "unk": "<unk>", "pad": "<pad>"},
        BERT,
    ),
    TokenizerClass(
        "BigBirdTokenizer",
        "big_bird",
        SPIECE,
        Unigrams(kinds.big_bird_unknown, kinds.big_bird_steps, kinds.no_steps, "never"),
        {**ANGLES, "sep": "[SEP]", "cls": "[CLS]", "mask": "[MASK]"},
        BERT,
        ALL,
    ),
    TokenizerClass(
        "DebertaV2Tokenizer",
        "deberta-v2",
        ("spm.model",),
        Unigrams(kinds.deberta_v2_unknown, kinds.deberta_v2_steps, kinds.punctuation, "first"),
        CLS_SEP,
        BERT,
    ),
    TokenizerClass(
        "XLNetTokenizer",
        "xlnet",
        SPIECE,
        Unigrams(kinds.xlnet_unknown, kinds.xlnet_steps),
        {**ANGLES, "sep": "<sep>", "cls": "<cls>"},
        Frame("A sep cls:2", "A sep B:1 sep:1 cls:2"),
        MASK,
        extra=_unless("<eop>", "<eod>"),
        padding_side="left",
    ),
    TokenizerClass(
        "XLMRobertaTokenizer",
        "xlm-roberta xlm-roberta-xl",
        FAIRSEQ,
        Unigrams(3, without_space="never"),
        ANGLES,
        FAIR,
        number=fairseq,
        alike="XLMRobertaXLTokenizer",
    ),
    TokenizerClass(
        "CamembertTokenizer",
        "camembert",
        FAIRSEQ,
        Unigrams(kinds.camembert_unknown, without_space="never"),
        ANGLES,
        FAIR,
        {"mask": {"lstrip": True, "special": True}},
        number=camembert,
        extra=_unless("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"),
    ),
    TokenizerClass(
        "T5Tokenizer",
        "t5 mt5 umt5 longt5 switch_transformers",
        SPIECE,
        Unigrams(2),
        dict(eos="</s>", unk="<unk>", pad="<pad>"),
        Frame("A eos", "A eos B eos"),
        number=t5,
        extra=_t5_extra,
        alike="MT5Tokenizer UMT5Tokenizer LongT5Tokenizer",
    ),
    TokenizerClass(
        "PegasusTokenizer",
        "pegasus",
        SPIECE,
        Unigrams(kinds.pegasus_unknown, kinds.pegasus_steps, kinds.no_steps),
        dict(pad="<pad>", eos="</s>", unk="<unk>", mask="<mask_2>"),
        Frame("A eos", "A B eos"),
        number=pegasus,
        extra=_pegasus_extra,
    ),
    _MBART,
    replace(
        _MBART,
        name="MBart50Tokenizer",
        models="",
        build=Unigrams(3, kinds.mbart50_steps, kinds.no_steps),
        special={role: token for role, token in ANGLES.items() if role != "bos"},
        number=with_languages(languages.MBART50),
        extra=lambda named, options: [*(named or []), *languages.MBART50],
        languages=languages.MBART50,
        suffix=False,
    ),
    TokenizerClass(
        "NllbTokenizer",
        "nllb nllb-moe",
        FAIRSEQ,
        kinds.nllb_pairs,
        ANGLES,
        shape={"mask": {"lstrip": True, "normalized": True, "special": True}},
        number=nllb,
        extra=_unless(*languages.NLLB),
        languages=languages.NLLB,
        default_language="eng_Latn",
    ),
)
CLASSES = {one.name: one for one in _TABLE}
AS_IT_LIES = ("PreTrainedTokenizerFast", "TokenizersBackend", "PreTrainedTokenizer")
ALIKE = {name: one.name for one in _TABLE for name in one.alike.split()}
"""Names of classes that do what another does."""
OURS = {
    **{model: one.name for one in _TABLE for model in one.models.split()},
    "blenderbot-small": "BlenderbotSmallTokenizer",
    "byt5": "ByT5Tokenizer",
    "m2m_100": "M2M100Tokenizer",
    "marian": "MarianTokenizer",
    "modernbert": "PreTrainedTokenizerFast",
    "roformer": "RoFormerTokenizer",
}
"""model_type -> the class of its tokenizers."""
WHOLE = ("modernbert", "umt5", "xlm-roberta-xl")  # their tokenizer.json says all there is to say
