"""A tokenizer of the Rust library with what belongs to it: its special tokens, sides and files.

`Tokenizer` (tokenizer.py) adds what users call.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import tokenizers

from transformers_jax.arrays import Int
from transformers_jax.data.texts import digest
from transformers_jax.objectives.vocabulary import ROLES

SPELLED = {  # how the tokens of roles without a key are written, by those who have them
    "fim_prefix": ("<|fim_prefix|>", "<fim_prefix>", "<fim-prefix>", "▁<PRE>"),
    "fim_middle": ("<|fim_middle|>", "<fim_middle>", "<fim-middle>", "▁<MID>"),
    "fim_suffix": ("<|fim_suffix|>", "<fim_suffix>", "<fim-suffix>", "▁<SUF>"),
}


@contextlib.contextmanager
def refusing(what: str) -> Iterator[None]:
    """Whatever the Rust library raises, as one ValueError: its panics are no Exception."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:
        reason = str(error).splitlines() or [type(error).__name__]
        raise ValueError(f"{what}: {reason[0]}") from None


def check_texts(texts: Iterable[Any], split: bool = False) -> list[Any]:
    """Several texts, or several lists of words.

    Raises:
        ValueError: one text, and what is no text.
    """
    if isinstance(texts, (str, bytes)):
        raise ValueError("several texts are a list of str; one text goes to encode")
    texts = list(texts)
    for number, text in enumerate(texts):
        if not split:
            if not isinstance(text, str):
                hint = "; decode it first"
                if isinstance(text, (list, tuple)) and all(isinstance(word, str) for word in text):
                    hint = "; words of a text go to batch(..., is_split_into_words=True)"
                raise ValueError(f"text {number} is {type(text).__name__}, not str{hint}")
        elif isinstance(text, (str, bytes)) or not isinstance(text, Sequence):
            raise ValueError(
                f"text {number} is {type(text).__name__}; with is_split_into_words=True a text is "
                "a list of its words, and a batch a list of such lists"
            )
        elif wrong := [word for word in text if not isinstance(word, str)]:
            raise ValueError(f"text {number} has a {type(wrong[0]).__name__} among its words")
    return texts


def check_surrogates(texts: Sequence[Any]) -> None:
    """No text, of a pair or of several words, may hold what UTF-8 cannot.

    Raises:
        ValueError: one does, with its position.
    """
    for number, text in enumerate(texts):
        for part in strings_of(text):
            try:
                part.encode()
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"text {number} has a lone surrogate ({part[error.start]!r}) at {error.start}, "
                    "which no UTF-8 text has; replace it, or read the file with errors='strict'"
                ) from None


def strings_of(text: Any) -> Iterator[str]:
    """The strings of a text, of a pair, or of a text split into words."""
    if isinstance(text, str):
        yield text
    else:
        for part in text:
            yield from strings_of(part)


@dataclass(eq=False, repr=False)
class Wrapped:
    """A tokenizer of the Rust library, and its settings in other files.

    Attributes:
        kind: byte, character, bpe, wordpiece or unigram if learned by us, else "loaded".
        special: role -> the token's text, such as {"pad": "<pad>"}; no role that it lacks.
        max_id: the largest id that it may give.
        chat_template: Jinja source, or None.
        padding_side, truncation_side: where `batch` pads rows, and where it cuts them.
        model_max_length: the most tokens of a row of the model that it belongs to, if known.
        returns_types: whether `batch` gives token types for pairs of texts; None where no file
            says it, and what is put around a pair decides.
        tokenizer_class: the class of Hugging Face's package, as tokenizer_config.json names it.
        config: all that tokenizer_config.json said, which `save` writes back.
        languages: code -> id of its token, of a translation model: the `forced_bos_token_id` of
            `generate` is the one of the target language.
        target: the `Tokenizer` of texts of the target language, where they are read in another way.
        files: name -> content of the files that it was read from, where no tokenizer.json can hold
            it; `save` writes them.
    """

    inner: Any
    kind: str
    special: dict[str, str] = field(default_factory=dict)
    chat_template: str | None = None
    _: KW_ONLY
    padding_side: str = "right"
    truncation_side: str = "right"
    model_max_length: int | None = None
    returns_types: bool | None = None
    tokenizer_class: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    languages: Mapping[str, int] = field(default_factory=dict)
    target: Any = None
    files: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._named = dict(self.special)
        self._read_vocabulary()

    def _read_vocabulary(self) -> None:
        """All that follows from which tokens there are."""
        vocabulary = self.inner.get_vocab(with_added_tokens=True)
        if not vocabulary:
            raise ValueError("this tokenizer has no tokens")
        self.max_id = max(vocabulary.values())
        largest = max([self.max_id, *self.inner.encode("", "").ids])  # a frame has ids of its own
        if largest >= 2**31:
            raise ValueError(f"it gives the id {largest}; ids are less than {2**31}")
        named = dict(self._named)
        for role, spellings in SPELLED.items():
            named.setdefault(role, next((s for s in spellings if s in vocabulary), ""))
        self.special = {role: named[role] for role in ROLES if named.get(role) in vocabulary}
        self._vocabulary = vocabulary
        for name in ("_added", "_characters", "_with_unknown", "fingerprint", "gives_types"):
            self.__dict__.pop(name, None)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    @property
    def simple(self) -> bool:
        """Whether a token is a byte or a character, which needs no Rust to find."""
        return self.kind in ("byte", "character")

    def symbol_ids(self, text: str, parse_special: bool) -> Int[np.ndarray, " T"]:
        """The ids of a text where `simple`, looked up without the Rust library: many
        times as fast.

        Raises:
            ValueError: a character without an id, where there is no unknown token.
        """
        if not parse_special or self._added is None:
            return self._look_up(text)
        rows, start = [np.zeros(0, np.int32)], 0
        for match in self._added.finditer(text):
            added = np.array([self._vocabulary[match.group()]], np.int32)
            rows += [self._look_up(text[start : match.start()]), added]
            start = match.end()
        return np.concatenate([*rows, self._look_up(text[start:])])

    def _look_up(self, text: str) -> Int[np.ndarray, " T"]:
        if self.kind == "byte":
            return np.frombuffer(text.encode(), np.uint8).astype(np.int32)
        unknown = self._vocabulary.get(self.special.get("unk"))
        ids = [self._characters.get(character, unknown) for character in text]
        if None in ids:
            first = ids.index(None)
            raise ValueError(
                f"character {text[first]!r} at {first} does not occur in the text that this "
                "character tokenizer was learned from; use tokenizer 'byte' or 'bpe'"
            )
        return np.array(ids, np.int32)

    @cached_property
    def _characters(self) -> dict[str, int]:
        return self.inner.get_vocab(with_added_tokens=False)

    @cached_property
    def _added(self) -> re.Pattern[str] | None:
        """What finds the added tokens in a text, the longest first."""
        added = [token.content for token in self.inner.get_added_tokens_decoder().values()]
        longest_first = sorted(added, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first))) if added else None

    @cached_property
    def _with_unknown(self) -> Any:
        """The tokenizer with a model of characters that knows the unknown token."""
        inner, unknown = tokenizers.Tokenizer.from_str(self.inner.to_str()), self.special["unk"]
        vocabulary = {**self._characters, unknown: self.special_id("unk")}
        inner.model = tokenizers.models.BPE(vocabulary, merges=[], unk_token=unknown)
        return inner

    @cached_property
    def gives_types(self) -> bool:
        """Whether `batch` gives token types for pairs of texts: by the class if it is known, else
        if the tokenizer's template is BERT's ([CLS] a [SEP] b [SEP]) and numbers them."""
        if self.returns_types is not None:
            return self.returns_types
        if not {"cls", "sep"} <= set(self.special):
            return False
        return any(self.run("encode_batch", [("", "")], add_special_tokens=True)[0].type_ids)

    def special_id(self, role: str) -> int:
        """The id of the special token of a role that the tokenizer has."""
        return self._vocabulary[self.special[role]]

    def run(
        self,
        method: str,
        texts: Sequence[Any],
        *,
        parse_special: bool = True,
        add_special_tokens: bool = False,
        is_pretokenized: bool = False,
        truncation: Mapping[str, Any] | None = None,
        padding: Mapping[str, Any] | None = None,
    ) -> list[Any]:
        """The Rust library's records of texts. How it parses, cuts and fills them is set, and set
        back, on a tokenizer that threads share: one at a time."""
        texts, inner = list(texts), self.inner
        if self.kind == "character" and "unk" in self.special:
            inner = self._with_unknown
        elif self.kind == "character":  # the library would leave an unknown character out
            check_surrogates(texts)
            for text in strings_of(texts):
                self.symbol_ids(text, parse_special)
        with self._lock:
            try:
                with refusing("these texts cannot be encoded"):
                    inner.encode_special_tokens = not parse_special
                    if truncation is not None:
                        inner.enable_truncation(**truncation)
                    if padding is not None:
                        inner.enable_padding(**padding)
                    return getattr(inner, method)(
                        texts,
                        add_special_tokens=add_special_tokens,
                        is_pretokenized=is_pretokenized,
                    )
            except ValueError:
                check_surrogates(texts)
                raise
            finally:
                inner.encode_special_tokens = False
                inner.no_truncation()
                inner.no_padding()

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits: tokens, their ids, and how text is cut into them."""
        return digest(self.inner.to_str())
