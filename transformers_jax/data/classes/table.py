"""The classes of tokenizers: one record each, and the names under which directories ask for them.

What a class does that its files do not say: which file it reads, how it numbers the pieces of a
SentencePiece model, what its special tokens are called, what it puts around a text or a pair, and
on which side it fills rows. Classes are those of Hugging Face's transformers, version 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from transformers_jax.data.classes import languages, models
from transformers_jax.data.classes.options import Options
from transformers_jax.data.classes.vocabulary import Scored, Words

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


BERT = Frame("cls A sep", "cls A sep B:1 sep:1")
ROBERTA = Frame("cls A sep", "cls A sep sep B sep", trim=True)
FAIR = Frame("bos A eos", "bos A eos eos B eos")


@dataclass(frozen=True)
class TokenizerClass:
    """How a class makes a tokenizer of its files.

    Attributes:
        files: what it reads where there is no tokenizer.json; the first is the vocabulary.
        build: (vocabulary, options) -> a tokenizer of the Rust library, still without frame.
        special: role -> its token, where the files name none.
        shape: role -> how its token is found in a text, where the files give a text alone.
        frame: what is put around a text; None: what the tokenizer.json has, else
            `add_bos_token` and `add_eos_token`.
        number: pieces of a SentencePiece model, in the order of the class's ids.
        extra: (tokens that files or model name, options) -> special tokens without a role.
        languages: codes of its languages, whose tokens are the codes.
        default_language: the source language where the files name none.
        suffix: whether the language stands behind the text; else before it.
        padding_side: where rows are filled.
    """

    name: str
    files: tuple[str, ...]
    build: Callable[[Words, Options], Any]
    special: dict[str, str] = field(default_factory=dict)
    frame: Frame | None = None
    shape: dict[str, dict[str, bool]] = field(default_factory=dict)
    number: Callable[[Scored, Options], Scored] = lambda pieces, options: pieces
    extra: Callable[[list[Any] | None, Options], list[Any]] = lambda named, options: named or []
    languages: tuple[str, ...] = ()
    default_language: str = ""
    suffix: bool = False
    padding_side: str = "right"


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
    texts = {text for text, _ in front}
    codes = [(code, 0.0) for code in languages.NLLB]
    rest = [piece for piece in pieces if piece[0] not in texts]
    return [*front, *rest, *codes, _token(options, "mask")]


def pegasus(pieces: Scored, options: Options) -> Scored:
    """Pegasus': <pad> </s>, two masks and the unused tokens of its pretraining, up to `offset`."""
    sentence = options.get("mask_token_sent", "<mask_1>")
    masks = dict.fromkeys([sentence, options.token("mask") or "<mask_2>"])
    unused = [(f"<unk_{n}>", -100.0) for n in range(2, int(options.get("offset", 103)))]
    front = [_token(options, "pad"), _token(options, "eos"), *((m, 0.0) for m in masks)]
    return [*front, *unused, *pieces[2:]]


def t5(pieces: Scored, options: Options) -> Scored:
    """T5's: the sentinels behind the pieces, <extra_id_0> last."""
    return [*pieces, *((token, 0.0) for token in reversed(sentinels(options)))]


def sentinels(options: Options) -> list[str]:
    """<extra_id_0>, <extra_id_1>, ..."""
    return [f"<extra_id_{number}>" for number in range(int(options.get("extra_ids", 100)))]


# ------------------------------------------------------------ special tokens without a role


def _t5_extra(named: list[Any] | None, options: Options) -> list[Any]:
    named = named or []
    has = any("<extra_id_" in str(getattr(token, "content", token)) for token in named)
    return [*named, *([] if has else sentinels(options))]


def _pegasus_extra(named: list[Any] | None, options: Options) -> list[Any]:
    sentence = options.get("mask_token_sent", "<mask_1>")
    texts = [getattr(token, "content", token) for token in named or []]
    unused = [f"<unk_{number}>" for number in range(2, int(options.get("offset", 103)))]
    return [*([] if sentence in texts else [sentence]), *unused]


def _unless(*tokens: str) -> Callable[[list[Any] | None, Options], list[Any]]:
    return lambda named, options: [*tokens] if named is None else named


def _and(codes: tuple[str, ...]) -> Callable[[list[Any] | None, Options], list[Any]]:
    return lambda named, options: [*codes, *(named or [])]


# ------------------------------------------------------------ the classes

_BERT = TokenizerClass("BertTokenizer", LINES, models.word_pieces, BRACKETS, BERT)
_GPT2 = TokenizerClass(
    "GPT2Tokenizer",
    MERGED,
    models.byte_pairs,
    dict(unk="<|endoftext|>", bos="<|endoftext|>", eos="<|endoftext|>"),
)
_ROBERTA = TokenizerClass("RobertaTokenizer", MERGED, models.byte_pairs, ANGLES, ROBERTA)
_T5 = TokenizerClass(
    "T5Tokenizer",
    SPIECE,
    models.t5_pieces,
    dict(eos="</s>", unk="<unk>", pad="<pad>"),
    Frame("A eos", "A eos B eos"),
    number=t5,
    extra=_t5_extra,
)
_XLMR = TokenizerClass(
    "XLMRobertaTokenizer", FAIRSEQ, models.fairseq_pieces, ANGLES, FAIR, number=fairseq
)
_MBART = TokenizerClass(
    "MBartTokenizer",
    FAIRSEQ,
    models.mbart_pieces,
    ANGLES,
    shape=MASK,
    number=with_languages(languages.MBART),
    extra=_and(languages.MBART),
    languages=languages.MBART,
    default_language="en_XX",
    suffix=True,
)
_TABLE = (
    _BERT,
    replace(_BERT, name="DistilBertTokenizer"),
    TokenizerClass(
        "MPNetTokenizer",
        LINES,
        models.word_pieces,
        {**ANGLES, "unk": "[UNK]"},
        ROBERTA,
        shape=ALL,
    ),
    _GPT2,
    _ROBERTA,
    TokenizerClass(
        "DebertaTokenizer",
        MERGED,
        models.byte_pairs,
        {**BRACKETS, "bos": "[CLS]", "eos": "[SEP]"},
        Frame("cls A sep", "cls A sep sep B sep"),
    ),
    TokenizerClass(
        "BlenderbotTokenizer",
        MERGED,
        models.blenderbot_pairs,
        ANGLES,
        shape={"mask": {"lstrip": True, "normalized": False}},
    ),
    TokenizerClass(
        "LlamaTokenizer",
        ("tokenizer.model",),
        models.llama_pairs,
        dict(unk="<unk>", bos="<s>", eos="</s>"),
        padding_side="left",
    ),
    TokenizerClass(
        "AlbertTokenizer",
        SPIECE,
        models.albert_pieces,
        {**BRACKETS, "bos": "[CLS]", "eos": "[SEP]", "unk": "<unk>", "pad": "<pad>"},
        BERT,
    ),
    TokenizerClass(
        "BigBirdTokenizer",
        SPIECE,
        models.big_bird_pieces,
        {**ANGLES, "sep": "[SEP]", "cls": "[CLS]", "mask": "[MASK]"},
        BERT,
        shape=ALL,
    ),
    TokenizerClass(
        "DebertaV2Tokenizer",
        ("spm.model",),
        models.deberta_v2_pieces,
        {**BRACKETS, "bos": "[CLS]", "eos": "[SEP]"},
        BERT,
    ),
    TokenizerClass(
        "XLNetTokenizer",
        SPIECE,
        models.xlnet_pieces,
        {**ANGLES, "sep": "<sep>", "cls": "<cls>"},
        Frame("A sep cls:2", "A sep B:1 sep:1 cls:2"),
        shape=MASK,
        extra=_unless("<eop>", "<eod>"),
        padding_side="left",
    ),
    _XLMR,
    TokenizerClass(
        "CamembertTokenizer",
        FAIRSEQ,
        models.camembert_pieces,
        ANGLES,
        FAIR,
        shape={"mask": {"lstrip": True, "special": True}},
        number=camembert,
        extra=_unless("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"),
    ),
    _T5,
    TokenizerClass(
        "PegasusTokenizer",
        SPIECE,
        models.pegasus_pieces,
        dict(pad="<pad>", eos="</s>", unk="<unk>", mask="<mask_2>"),
        Frame("A eos", "A B eos"),
        number=pegasus,
        extra=_pegasus_extra,
    ),
    _MBART,
    replace(
        _MBART,
        name="MBart50Tokenizer",
        build=models.mbart50_pieces,
        special={role: token for role, token in ANGLES.items() if role != "bos"},
        number=with_languages(languages.MBART50),
        extra=lambda named, options: [*(named or []), *languages.MBART50],
        languages=languages.MBART50,
        suffix=False,
    ),
    TokenizerClass(
        "NllbTokenizer",
        FAIRSEQ,
        models.nllb_pairs,
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
ALIKE = {  # names of classes that are others
    **dict.fromkeys(
        ("ElectraTokenizer", "MobileBertTokenizer", "ConvBertTokenizer"), "BertTokenizer"
    ),
    **dict.fromkeys(
        ("BartTokenizer", "LEDTokenizer", "LongformerTokenizer", "MvpTokenizer"), "RobertaTokenizer"
    ),
    **dict.fromkeys(("MT5Tokenizer", "UMT5Tokenizer", "LongT5Tokenizer"), "T5Tokenizer"),
    "XLMRobertaXLTokenizer": "XLMRobertaTokenizer",
}
OURS = {  # model_type -> the class of its tokenizers
    **dict.fromkeys(("bert", "electra", "nomic_bert"), "BertTokenizer"),
    **dict.fromkeys(("roberta", "bart", "longformer", "led"), "RobertaTokenizer"),
    **dict.fromkeys(("t5", "mt5", "umt5", "longt5", "switch_transformers"), "T5Tokenizer"),
    **dict.fromkeys(("xlm-roberta", "xlm-roberta-xl"), "XLMRobertaTokenizer"),
    "albert": "AlbertTokenizer",
    "big_bird": "BigBirdTokenizer",
    "blenderbot": "BlenderbotTokenizer",
    "blenderbot-small": "BlenderbotSmallTokenizer",
    "byt5": "ByT5Tokenizer",
    "camembert": "CamembertTokenizer",
    "deberta": "DebertaTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "distilbert": "DistilBertTokenizer",
    "gpt2": "GPT2Tokenizer",
    "m2m_100": "M2M100Tokenizer",
    "marian": "MarianTokenizer",
    "mbart": "MBartTokenizer",
    "modernbert": "PreTrainedTokenizerFast",
    "mpnet": "MPNetTokenizer",
    "nllb": "NllbTokenizer",
    "nllb-moe": "NllbTokenizer",
    "pegasus": "PegasusTokenizer",
    "roformer": "RoFormerTokenizer",
    "xlnet": "XLNetTokenizer",
}
WHOLE = ("modernbert", "umt5", "xlm-roberta-xl")  # their tokenizer.json says all there is to say
