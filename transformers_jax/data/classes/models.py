"""The kinds of models that tokenizers have, with how text is made ready for them and joined again.

Each function takes a vocabulary and options and gives a tokenizer of the Rust library, still
without added tokens and without a frame. Names and defaults of options are Hugging Face's.
"""

from __future__ import annotations

from typing import Any

from transformers_jax.data.classes.options import Options
from transformers_jax.data.classes.vocabulary import Words

SPACES = " {2,}"


def word_pieces(words: Words, options: Options) -> Any:
    """BERT's: words and punctuation, cut into the longest pieces from the left."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    inner = tokenizers.Tokenizer(models.WordPiece(words.ids, unk_token=options.token("unk")))
    inner.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=options.get("tokenize_chinese_chars", True),
        strip_accents=options.get("strip_accents"),
        lowercase=options.get("do_lower_case", True),
    )
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece(prefix="##")
    return inner


def byte_pairs(words: Words, options: Options) -> Any:
    """GPT-2's: words in bytes, merged."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    model = models.BPE(
        words.ids, words.merges, continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False
    )
    inner = tokenizers.Tokenizer(model)
    space = bool(options.get("add_prefix_space", False))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    inner.decoder = decoders.ByteLevel()
    return inner


def blenderbot_pairs(words: Words, options: Options) -> Any:
    """BlenderBot's: a space before the first word unless the files say otherwise."""
    options.values.setdefault("add_prefix_space", True)
    return byte_pairs(words, options)


def _unigram(words: Words, unknown: int, steps: list[Any], before: list[Any], scheme: str) -> Any:
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    inner = tokenizers.Tokenizer(models.Unigram(words.scored, unk_id=unknown))
    if steps:
        inner.normalizer = normalizers.Sequence(steps)
    last = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=True)
    inner.pre_tokenizer = pre_tokenizers.Sequence([*before, last]) if before else last
    inner.decoder = decoders.Metaspace("▁", prepend_scheme=scheme, split=True)
    return inner


def _scheme(options: Options, otherwise: str = "never") -> str:
    return "always" if options.get("add_prefix_space", True) else otherwise


def _table(words: Words) -> list[Any]:
    from tokenizers import normalizers

    return [normalizers.Precompiled(words.charsmap)] if words.charsmap else []


def _one_space() -> Any:
    from tokenizers import Regex, normalizers

    return normalizers.Replace(Regex(SPACES), " ")


def _words() -> list[Any]:
    from tokenizers import pre_tokenizers

    return [pre_tokenizers.WhitespaceSplit()]


def _place(words: Words, options: Options, otherwise: int) -> int:
    """The id of the unknown token, which has the score 0 where it is one."""
    found = words.ids.get(options.token("unk") or "", -1)
    return found if found >= 0 and words.scored[found][1] == 0 else otherwise


def fairseq_pieces(words: Words, options: Options) -> Any:
    """XLM-RoBERTa's: unknown is 3, white space of any kind is one ▁."""
    return _unigram(words, 3, _table(words), _words(), _scheme(options))


def camembert_pieces(words: Words, options: Options) -> Any:
    """CamemBERT's: as XLM-RoBERTa's, with unknown wherever the vocabulary has it."""
    unknown = words.ids.get(options.token("unk") or "", 0)
    return _unigram(words, unknown, _table(words), _words(), _scheme(options))


def t5_pieces(words: Words, options: Options) -> Any:
    """T5's: unknown is 2."""
    return _unigram(words, 2, _table(words), _words(), "always")


def mbart_pieces(words: Words, options: Options) -> Any:
    """mBART's: characters are not replaced."""
    return _unigram(words, 3, [], _words(), "always")


def mbart50_pieces(words: Words, options: Options) -> Any:
    """mBART-50's: only spaces are ▁."""
    return _unigram(words, 3, [*_table(words), _one_space()], [], "always")


def pegasus_pieces(words: Words, options: Options) -> Any:
    """Pegasus': without a table of characters, a new line is a space."""
    from tokenizers import Regex, normalizers

    steps = _table(words) or [normalizers.Replace(Regex(r"\n"), " ")]
    unknown = _place(words, options, -1)
    if unknown < 1:
        raise ValueError(f"the unknown token {options.token('unk')!r} is not in its vocabulary")
    return _unigram(words, unknown, [*steps, _one_space()], [], "always")


def big_bird_pieces(words: Words, options: Options) -> Any:
    """BigBird's: characters are not replaced."""
    from tokenizers import Regex, normalizers

    steps = [normalizers.Replace(Regex(SPACES), "▁")]
    return _unigram(words, _place(words, options, 100), steps, [], _scheme(options))


def deberta_v2_pieces(words: Words, options: Options) -> Any:
    """DeBERTa-v2's and v3's: composed characters, punctuation apart if `split_by_punct`."""
    from tokenizers import Regex, normalizers, pre_tokenizers

    lower = [normalizers.Lowercase()] if options.get("do_lower_case", False) else []
    steps = [
        *lower,
        normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "),
        normalizers.NFC(),
        normalizers.Strip(left=False, right=True),
    ]
    apart = options.get("split_by_punct", False)
    before = [pre_tokenizers.Punctuation(behavior="isolated")] if apart else []
    unknown = _place(words, options, int(options.get("unk_id", 1)))
    return _unigram(words, unknown, steps, before, _scheme(options, "first"))


def albert_pieces(words: Words, options: Options) -> Any:
    """ALBERT's: quotes of one kind, without accents and in lower case unless told otherwise."""
    keep = options.get("keep_accents", False)
    lower = options.get("do_lower_case", True)
    return _unigram(words, 1, _quoted(words, keep, lower), _words(), _scheme(options))


def xlnet_pieces(words: Words, options: Options) -> Any:
    """XLNet's: quotes of one kind, without accents, in lower case if told so."""
    lower = options.get("do_lower_case", False)
    unknown = int(options.get("unk_id", 0))
    return _unigram(words, unknown, _quoted(words, False, lower), _words(), "always")


def _quoted(words: Words, keep_accents: bool, lower: bool) -> list[Any]:
    from tokenizers import normalizers

    steps: list[Any] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not keep_accents:
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if lower:
        steps.append(normalizers.Lowercase())
    return [*steps, *_table(words)]


def nllb_pairs(words: Words, options: Options) -> Any:
    """NLLB's: SentencePiece's pairs without bytes."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    model = models.BPE(
        words.ids, words.merges, unk_token=options.token("unk"), fuse_unk=True, byte_fallback=False
    )
    inner = tokenizers.Tokenizer(model)
    if words.charsmap:
        inner.normalizer = normalizers.Sequence([*_table(words), _one_space()])
    inner.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always", split=True)
    inner.decoder = decoders.Metaspace("▁", prepend_scheme="always", split=True)
    return inner


def llama_pairs(words: Words, options: Options) -> Any:
    """Llama's: SentencePiece's pairs, what they lack in bytes; `legacy` puts ▁ before every part
    of a text that special tokens cut, not before the first alone."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    model = models.BPE(words.ids, words.merges, fuse_unk=True, byte_fallback=True)
    inner = tokenizers.Tokenizer(model)
    space = options.get("add_prefix_space", True)
    scheme = ("always" if options.get("legacy", False) else "first") if space else "never"
    inner.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    inner.decoder = decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if space else [])])
    return inner
