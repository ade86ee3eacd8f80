"""The classes of tokenizers: one record each, and the names by which directories refer to them.

A record says what the files of a class do not: which file it reads, how it numbers the pieces of a
SentencePiece model, its special tokens, what it puts around a text or a pair, and on which side it
pads. Classes are those of Hugging Face's transformers, version 5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from transformers_jax.data.classes import languages
from transformers_jax.data.classes import models as kinds
from transformers_jax.data.classes.models import Unigrams, byte_pairs, word_pieces
from transformers_jax.data.classes.options import Options, text
from transformers_jax.data.classes.vocabulary import Scored, Vocab


@dataclass(frozen=True)
class Template:
    """What is put around a text and around a pair: roles of tokens, "A" and "B" for the texts; ":1"
    and ":2" behind one are its token type.

    `trim` is set where offsets of tokens leave out the spaces before words (RoBERTa).
    """

    single: str
    pair: str
    trim: bool = False


Extra = Callable[[list[Any] | None, Options], list[Any]]
Number = Callable[[Scored, Options], Scored]
BERT = Template("cls A sep", "cls A sep B:1 sep:1")
DEBERTA = Template("cls A sep", "cls A sep sep B sep")
ROBERTA = replace(DEBERTA, trim=True)
FAIR = Template("bos A eos", "bos A eos eos B eos")

Roles = dict[str, str]
BRACKETS: Roles = dict(unk="[UNK]", sep="[SEP]", pad="[PAD]", cls="[CLS]", mask="[MASK]")
ANGLES: Roles = dict(
    bos="<s>", eos="</s>", sep="</s>", cls="<s>", unk="<unk>", pad="<pad>", mask="<mask>"
)
END_OF_TEXT = dict.fromkeys(("unk", "bos", "eos"), "<|endoftext|>")
CLS_SEP = {**BRACKETS, "bos": "[CLS]", "eos": "[SEP]"}
MASK = {"mask": {"lstrip": True}}  # the space before a mask is part of it
ALL = {**{role: {} for role in ANGLES}, **MASK}


@dataclass(frozen=True)
class TokenizerClass:
    """How a class builds a tokenizer from its files.

    Attributes:
        models: values of `model_type` whose tokenizers are of this class.
        special: role -> its token, where the files name none.
        template: what is put around a text; None: as tokenizer.json or `add_bos_token` say.
        build: (vocabulary, options) -> a tokenizer of the Rust library, still without template.
        files: what it reads where there is no tokenizer.json; the first is the vocabulary.
        flags: role -> flags of its token, where the files name its text and no flags.
        number: pieces of a SentencePiece model, in the order of the class's ids.
        extra: (tokens that files or model name, options) -> special tokens without a role.
        languages: codes of its languages, whose tokens are the codes.
        default_language: the source language where the files name none.
        suffix: whether the language is behind the text; else before it.
        padding_side: where rows are padded.
    """

    name: str
    models: str
    special: Roles
    template: Template | None = None
    build: Callable[[Vocab, Options], Any] = Unigrams(2)
    files: tuple[str, ...] = ("spiece.model",)
    flags: dict[str, dict[str, bool]] = field(default_factory=dict)
    number: Number = lambda pieces, options: pieces
    extra: Extra = lambda named, options: named or []
    languages: tuple[str, ...] = ()
    default_language: str = ""
    suffix: bool = False
    padding_side: str = "right"

    @property
    def kind(self) -> str:
        """The kind of the model of the Rust library, as tokenizer.json writes it."""
        if isinstance(self.build, Unigrams):
            return "Unigram"
        return "WordPiece" if self.build is word_pieces else "BPE"


# ------------------------------------------------------------ numbering of SentencePiece's pieces


def _scored(names: Iterable[str], options: Options) -> Scored:
    """The tokens of roles, and texts that are none, with their scores; unused ones have -100."""
    texts = [options.token(name) or ANGLES.get(name, name) for name in names]
    return [(text, -100.0 if NOT_USED.fullmatch(text) else 0.0) for text in texts]


def numbered(front: str, replaced: int, codes: tuple[str, ...] = ()) -> Number:
    """The pieces but the first few, behind other tokens; then language codes and the mask."""
    return lambda pieces, options: [
        *_scored(front.split(), options),
        *pieces[replaced:],
        *_scored((*codes, "mask"), options),
    ]


def nllb(pieces: Scored, options: Options) -> Scored:
    """NLLB's: fairseq's, but every piece that is none of the first four."""
    front = _scored(FAIRSEQ_FRONT.split(), options)
    rest = [piece for piece in pieces if piece[0] not in dict(front)]
    return [*front, *rest, *_scored((*languages.NLLB, "mask"), options)]


def pegasus(pieces: Scored, options: Options) -> Scored:
    """Pegasus': <pad> </s>, two masks and the unused tokens of its pretraining, up to `offset`."""
    masks = dict.fromkeys([_sentence_mask(options), options.token("mask") or "<mask_2>"])
    return [*_scored(["pad", "eos", *masks, *_unused(options)], options), *pieces[2:]]


def _sentence_mask(options: Options) -> str:
    return options.get("mask_token_sent", "<mask_1>")


def _unused(options: Options) -> list[str]:
    return [f"<unk_{n}>" for n in range(2, int(options.get("offset", 103)))]


def t5(pieces: Scored, options: Options) -> Scored:
    """T5's: the sentinels behind the pieces, <extra_id_0> last."""
    return [*pieces, *_scored(reversed(sentinels(options)), options)]


def sentinels(options: Options) -> list[str]:
    """<extra_id_0>, <extra_id_1>, ..."""
    return [f"<extra_id_{number}>" for number in range(int(options.get("extra_ids", 100)))]


def _t5_extra(named: list[Any] | None, options: Options) -> list[Any]:
    has = any("<extra_id_" in str(text(token)) for token in named or [])
    return [*(named or []), *([] if has else sentinels(options))]


def _pegasus_extra(named: list[Any] | None, options: Options) -> list[Any]:
    sentence = _sentence_mask(options)
    return [*([] if sentence in map(text, named or []) else [sentence]), *_unused(options)]


def _unless(*tokens: str) -> Extra:
    return lambda named, options: [*tokens] if named is None else named


def _and(codes: tuple[str, ...]) -> Extra:
    return lambda named, options: [*codes, *(named or [])]


# ------------------------------------------------------------ the classes

FAIRSEQ_FRONT = "bos pad eos unk"  # in place of SentencePiece's <unk> <s> </s>
NOT_USED = re.compile(r"<unk_\d+>|<unk>NOTUSED")
_words = partial(TokenizerClass, build=word_pieces, files=("vocab.txt",))
_bytes = partial(TokenizerClass, build=byte_pairs, files=("vocab.json", "merges.txt"))
_fairseq = partial(TokenizerClass, files=("sentencepiece.bpe.model",))
_mbart = partial(_fairseq, default_language="en_XX", flags=MASK)
_TABLE = (
    _words("BertTokenizer", "bert electra nomic_bert", BRACKETS, BERT),
    _words("DistilBertTokenizer", "distilbert", BRACKETS, BERT),
    _words("MPNetTokenizer", "mpnet", {**ANGLES, "unk": "[UNK]"}, ROBERTA, flags=ALL),
    _bytes("GPT2Tokenizer", "gpt2", END_OF_TEXT),
    _bytes("RobertaTokenizer", "roberta bart longformer led", ANGLES, ROBERTA),
    _bytes("DebertaTokenizer", "deberta", CLS_SEP, DEBERTA),
    _bytes(
        "BlenderbotTokenizer",
        "blenderbot",
        ANGLES,
        build=partial(byte_pairs, space=True),
        flags={"mask": {"lstrip": True, "normalized": False}},
    ),
    TokenizerClass(
        "LlamaTokenizer",
        "",
        dict(unk="<unk>", bos="<s>", eos="</s>"),
        build=kinds.llama_pairs,
        files=("tokenizer.model",),
        padding_side="left",
    ),
    TokenizerClass(
        "AlbertTokenizer",
        "albert",
        {**CLS_SEP, "unk": "<unk>", "pad": "<pad>"},
        BERT,
        Unigrams(1, kinds.albert_steps, without_space="never"),
    ),
    TokenizerClass(
        "BigBirdTokenizer",
        "big_bird",
        {**ANGLES, "sep": "[SEP]", "cls": "[CLS]", "mask": "[MASK]"},
        BERT,
        Unigrams(kinds.big_bird_unknown, kinds.big_bird_steps, kinds.no_steps, "never"),
        flags=ALL,
    ),
    TokenizerClass(
        "DebertaV2Tokenizer",
        "deberta-v2",
        CLS_SEP,
        BERT,
        Unigrams(kinds.deberta_v2_unknown, kinds.deberta_v2_steps, kinds.punctuation, "first"),
        ("spm.model",),
    ),
    TokenizerClass(
        "XLNetTokenizer",
        "xlnet",
        {**ANGLES, "sep": "<sep>", "cls": "<cls>"},
        Template("A sep cls:2", "A sep B:1 sep:1 cls:2"),
        Unigrams(kinds.xlnet_unknown, kinds.xlnet_steps),
        flags=MASK,
        extra=_unless("<eop>", "<eod>"),
        padding_side="left",
    ),
    _fairseq(
        "XLMRobertaTokenizer",
        "xlm-roberta xlm-roberta-xl",
        ANGLES,
        FAIR,
        Unigrams(3, without_space="never"),
        number=numbered(FAIRSEQ_FRONT, 3),
    ),
    _fairseq(  # four entries of fairseq's dictionary before fairseq's own, unused
        "CamembertTokenizer",
        "camembert",
        ANGLES,
        FAIR,
        Unigrams(kinds.camembert_unknown, without_space="never"),
        flags={"mask": {"lstrip": True, "special": True}},
        number=numbered("<s>NOTUSED pad </s>NOTUSED unk <unk>NOTUSED", 1),
        extra=_unless("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"),
    ),
    TokenizerClass(
        "T5Tokenizer",
        "t5 mt5 umt5 longt5 switch_transformers",
        dict(eos="</s>", unk="<unk>", pad="<pad>"),
        Template("A eos", "A eos B eos"),
        number=t5,
        extra=_t5_extra,
    ),
    TokenizerClass(
        "PegasusTokenizer",
        "pegasus",
        dict(pad="<pad>", eos="</s>", unk="<unk>", mask="<mask_2>"),
        Template("A eos", "A B eos"),
        Unigrams(kinds.pegasus_unknown, kinds.pegasus_steps, kinds.no_steps),
        number=pegasus,
        extra=_pegasus_extra,
    ),
    _mbart(
        "MBartTokenizer",
        "mbart",
        ANGLES,
        build=Unigrams(3, kinds.no_steps),
        number=numbered(FAIRSEQ_FRONT, 3, languages.MBART),
        extra=_and(languages.MBART),
        languages=languages.MBART,
        suffix=True,
    ),
    _mbart(
        "MBart50Tokenizer",
        "",
        {role: token for role, token in ANGLES.items() if role != "bos"},
        build=Unigrams(3, kinds.mbart50_steps, kinds.no_steps),
        number=numbered(FAIRSEQ_FRONT, 3, languages.MBART50),
        extra=_and(languages.MBART50),
        languages=languages.MBART50,
    ),
    _fairseq(
        "NllbTokenizer",
        "nllb nllb-moe",
        ANGLES,
        build=kinds.nllb_pairs,
        flags={"mask": {"lstrip": True, "normalized": True, "special": True}},
        number=nllb,
        extra=_unless(*languages.NLLB),
        languages=languages.NLLB,
        default_language="eng_Latn",
    ),
)
CLASSES = {one.name: one for one in _TABLE}
GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend", "PreTrainedTokenizer")
_SAME = {
    "BertTokenizer": "Electra MobileBert ConvBert",
    "RobertaTokenizer": "Bart LED Longformer Mvp",
    "XLMRobertaTokenizer": "XLMRobertaXL",
    "T5Tokenizer": "MT5 UMT5 LongT5",
}
ALIASES = {f"{model}Tokenizer": name for name, models in _SAME.items() for model in models.split()}
"""Names of classes that do what another does -> that class."""
CLASS_OF_MODEL = {
    **{model: one.name for one in _TABLE for model in one.models.split()},
    "blenderbot-small": "BlenderbotSmallTokenizer",
    "byt5": "ByT5Tokenizer",
    "esm": "EsmTokenizer",
    "m2m_100": "M2M100Tokenizer",
    "marian": "MarianTokenizer",
    "modernbert": "PreTrainedTokenizerFast",
    "perceiver": "PerceiverTokenizer",
    "roformer": "RoFormerTokenizer",
    **dict.fromkeys(("wav2vec2", "hubert"), "Wav2Vec2CTCTokenizer"),
}
"""model_type -> the class of its tokenizers."""
GENERIC_MODELS = (
    "modernbert",
    "umt5",
    "xlm-roberta-xl",
    "wav2vec2",
    "hubert",
)  # their classes add nothing to tokenizer.json
