"""The kinds of models that tokenizers have, with how text is prepared for them and joined again.

Each builder takes a vocabulary and options and gives a tokenizer of the Rust library, still
without added tokens and without a template. Names and defaults of options are Hugging Face's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from transformers_jax.data.classes.options import Options
from transformers_jax.data.classes.vocabulary import Vocab
from transformers_jax.data.sentencepiece import pieces_to_text

Replace = normalizers.Replace
SPACES = " {2,}"


def assembled(model: Any, pre_tokenizer: Any, decoder: Any, normalizer: Any = None) -> Any:
    """A tokenizer of its parts, without added tokens and template."""
    inner = tokenizers.Tokenizer(model)
    inner.normalizer, inner.pre_tokenizer, inner.decoder = normalizer, pre_tokenizer, decoder
    return inner


def word_pieces(vocab: Vocab, options: Options) -> Any:
    """BERT's: words and punctuation, cut into the longest pieces from the left."""
    normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=options.get("tokenize_chinese_chars", True),
        strip_accents=options.get("strip_accents"),
        lowercase=options.get("do_lower_case", True),
    )
    model = models.WordPiece(vocab.ids, unk_token=options.token("unk"))
    words = pre_tokenizers.BertPreTokenizer()
    return assembled(model, words, decoders.WordPiece(prefix="##"), normalizer)


def byte_pairs(vocab: Vocab, options: Options, space: bool = False) -> Any:
    """GPT-2's: words in bytes, merged; `space`: whether one comes before the first word, unless the
    files say it."""
    model = models.BPE(
        vocab.ids, vocab.merges, continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False
    )
    space = bool(options.values.setdefault("add_prefix_space", space))
    words = pre_tokenizers.ByteLevel(add_prefix_space=space)
    return assembled(model, words, decoders.ByteLevel())


def nllb_pairs(vocab: Vocab, options: Options) -> Any:
    """NLLB's: SentencePiece's pairs without bytes."""
    model = models.BPE(
        vocab.ids, vocab.merges, unk_token=options.token("unk"), fuse_unk=True, byte_fallback=False
    )
    steps = mbart50_steps(vocab, options) if vocab.charsmap else []
    return assembled(model, *metaspace("always"), _sequence(steps))


def llama_pairs(vocab: Vocab, options: Options) -> Any:
    """Llama's: SentencePiece's pairs, what they lack in bytes; `legacy` puts ▁ before every part
    of a text that special tokens cut, not only before the first."""
    model = models.BPE(vocab.ids, vocab.merges, fuse_unk=True, byte_fallback=True)
    space = options.get("add_prefix_space", True)
    scheme = ("always" if options.get("legacy", False) else "first") if space else "never"
    words = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=False)
    return assembled(model, words, pieces_to_text(space))


def metaspace(scheme: str) -> tuple[Any, Any]:
    """Words with ▁ in place of the spaces before them, and back."""
    return (
        pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=True),
        decoders.Metaspace("▁", prepend_scheme=scheme, split=True),
    )


def _sequence(steps: list[Any]) -> Any:
    return normalizers.Sequence(steps) if steps else None


# ------------------------------------------------------------ SentencePiece's unigrams

Steps = Callable[[Vocab, Options], list[Any]]
Unknown = Callable[[Vocab, Options], int]


def characters(vocab: Vocab, options: Options) -> list[Any]:
    """The replacements of the model's own table."""
    return [normalizers.Precompiled(vocab.charsmap)] if vocab.charsmap else []


def one_space() -> Any:
    """Several spaces become one."""
    return Replace(Regex(SPACES), " ")


def whitespace(vocab: Vocab, options: Options) -> list[Any]:
    """White space of any kind is cut away."""
    return [pre_tokenizers.WhitespaceSplit()]


def unscored(vocab: Vocab, options: Options, default: int) -> int:
    """The id of the unknown token, which has the score 0 where it is one."""
    number = vocab.ids.get(options.token("unk") or "", -1)
    return number if number >= 0 and vocab.scored[number][1] == 0 else default


@dataclass(frozen=True)
class Unigrams:
    """How a class prepares text for the unigrams of a SentencePiece model.

    Attributes:
        unknown: the id of the unknown token.
        steps: the normalizers.
        before: pre-tokenizers before spaces become ▁.
        without_space: where ▁ is put before words if the option `add_prefix_space` is false.
    """

    unknown: int | Unknown
    steps: Steps = characters
    before: Steps = whitespace
    without_space: str = "always"

    def __call__(self, vocab: Vocab, options: Options) -> Any:
        unknown = self.unknown if isinstance(self.unknown, int) else self.unknown(vocab, options)
        model = models.Unigram(vocab.scored, unk_id=unknown)
        scheme = "always" if options.get("add_prefix_space", True) else self.without_space
        words, decoder = metaspace(scheme)
        if before := self.before(vocab, options):
            words = pre_tokenizers.Sequence([*before, words])
        return assembled(model, words, decoder, _sequence(self.steps(vocab, options)))


def pegasus_unknown(vocab: Vocab, options: Options) -> int:
    """Pegasus' unknown token, which its vocabulary must have."""
    if (number := unscored(vocab, options, -1)) < 1:
        raise ValueError(f"the unknown token {options.token('unk')!r} is not in its vocabulary")
    return number


def pegasus_steps(vocab: Vocab, options: Options) -> list[Any]:
    """Without a table of characters, a new line is a space."""
    table = characters(vocab, options) or [Replace(Regex(r"\n"), " ")]
    return [*table, one_space()]


def deberta_v2_steps(vocab: Vocab, options: Options) -> list[Any]:
    """Composed characters, in lower case if the files say so."""
    lower = [normalizers.Lowercase()] if options.get("do_lower_case", False) else []
    space = Replace(Regex(r"\s{2,}|[\n\r\t]"), " ")
    return [*lower, space, normalizers.NFC(), normalizers.Strip(left=False, right=True)]


def punctuation(vocab: Vocab, options: Options) -> list[Any]:
    """Punctuation is split off with the option `split_by_punct`."""
    split = options.get("split_by_punct", False)
    return [pre_tokenizers.Punctuation(behavior="isolated")] if split else []


def quotes(vocab: Vocab, options: Options, accents: bool, lower: bool) -> list[Any]:
    """Quotes of one kind; whether accents stay, and whether letters become lower case."""
    steps: list[Any] = [Replace("``", '"'), Replace("''", '"')]
    if not accents:
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if lower:
        steps.append(normalizers.Lowercase())
    return [*steps, *characters(vocab, options)]


albert_steps: Steps = lambda vocab, options: quotes(
    vocab, options, options.get("keep_accents", False), options.get("do_lower_case", True)
)
xlnet_steps: Steps = lambda vocab, options: quotes(
    vocab, options, False, options.get("do_lower_case", False)
)
big_bird_steps: Steps = lambda vocab, options: [Replace(Regex(SPACES), "▁")]
mbart50_steps: Steps = lambda vocab, options: [*characters(vocab, options), one_space()]
no_steps: Steps = lambda vocab, options: []

big_bird_unknown: Unknown = lambda vocab, options: unscored(vocab, options, 100)
deberta_v2_unknown: Unknown = lambda vocab, options: unscored(
    vocab, options, int(options.get("unk_id", 1))
)
xlnet_unknown: Unknown = lambda vocab, options: int(options.get("unk_id", 0))
camembert_unknown: Unknown = lambda vocab, options: vocab.ids.get(options.token("unk") or "", 0)
