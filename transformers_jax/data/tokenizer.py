"""What a tokenizer does once it is there: text to ids and back, batches, chats, and its own files.

A `Tokenizer` wraps one of the Rust library, so that a run exports a tokenizer.json that any other
library reads, and any tokenizer.json can be used in a run.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.arrays import Bool, Int
from transformers_jax.data import inputs
from transformers_jax.objectives.vocabulary import ROLES, Vocabulary
from transformers_jax.publish import publish_json

KINDS = ("byte", "character", "bpe", "wordpiece", "unigram")
NAMED = ("pad", "unk", "bos", "eos", "cls", "sep", "mask")  # roles with a key of Hugging Face
SENTINEL = re.compile(r"<extra_id_(\d+)>")
MODES = {"R": ("[R]", "[NLU]"), "S": ("[S]", "[S2S]"), "X": ("[X]", "[NLG]")}  # UL2's own, second
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
        said = str(error).splitlines() or [type(error).__name__]
        raise ValueError(f"{what}: {said[0]}") from None


class Tokenizer:
    """`encode(text) -> ids`, `decode(ids) -> text`.

    Attributes:
        kind: byte, character, bpe, wordpiece or unigram if learned by us, else "loaded".
        special: role -> the token's text, such as {"pad": "<pad>"}; absent roles are not had.
        max_id: the largest id that it may give.
        chat_template: Jinja source, or None.
        padding_side, truncation_side: where `batch` fills rows, and where it cuts them.
        model_max_length: the most tokens of a row of the model that it belongs to, if known.
        returns_types: whether `batch` gives token types for pairs of texts; None where no file
            says it, and what is put around a pair decides.
        tokenizer_class: the class of Hugging Face's package, as tokenizer_config.json names it.
        config: all that tokenizer_config.json said, which `save` writes back.
        languages: code -> id of its token, of a translation model: the `forced_bos_token_id` of
            `generate` is the one of the target language.
        target: the tokenizer of texts of the target language, where they are read in another way.
        files: name -> content of the files that it was made of, where no tokenizer.json can hold
            it; `save` writes them.
    """

    def __init__(
        self,
        inner: Any,
        kind: str,
        special: Mapping[str, str] | None = None,
        chat_template: str | None = None,
        *,
        padding_side: str = "right",
        truncation_side: str = "right",
        model_max_length: int | None = None,
        returns_types: bool | None = None,
        tokenizer_class: str | None = None,
        config: Mapping[str, Any] | None = None,
        languages: Mapping[str, int] | None = None,
        target: Tokenizer | None = None,
        files: Mapping[str, bytes] | None = None,
    ):
        self.inner, self.kind, self.chat_template = inner, kind, chat_template
        self.padding_side, self.truncation_side = padding_side, truncation_side
        self.model_max_length, self.returns_types = model_max_length, returns_types
        self.tokenizer_class, self.config = tokenizer_class, dict(config or {})
        self.languages, self.target = dict(languages or {}), target
        self.files = dict(files or {})
        vocabulary = inner.get_vocab(with_added_tokens=True)
        if not vocabulary:
            raise ValueError("this tokenizer has no tokens")
        self.max_id = max(vocabulary.values())
        named = dict(special or {})
        for role, spellings in SPELLED.items():
            named.setdefault(role, next((s for s in spellings if s in vocabulary), ""))
        self.special = {role: named[role] for role in ROLES if named.get(role) in vocabulary}
        self._vocabulary = vocabulary

    # ------------------------------------------------------------ text to ids

    def encode(self, text: str, *, parse_special: bool = True) -> Int[np.ndarray, " T"]:
        """The ids of a text, without special tokens around it.

        Args:
            parse_special: whether "<pad>" in the text is the token; else it is five characters.

        Raises:
            ValueError: no text (bytes, None, lone surrogates), or a character never seen.
        """
        return self.encode_many([text], parse_special=parse_special)[0]

    def encode_many(
        self, texts: Iterable[str], *, parse_special: bool = True
    ) -> list[Int[np.ndarray, " T"]]:
        """The ids of several texts, on all cores."""
        texts = _checked(texts)
        if self.simple:
            _refuse_surrogates(texts)
            return [self._simply(text, parse_special) for text in texts]
        found = self._run("encode_batch_fast", texts, parse_special)
        return [np.array(one.ids, np.int32) for one in found]

    def encode_marked(
        self, texts: Sequence[str], places: Sequence[Sequence[int]]
    ) -> list[tuple[Int[np.ndarray, " T"], Int[np.ndarray, " s"]]]:
        """The ids of texts, and the tokens in which the characters at `places` lie, each once.

        Places in what becomes no token count for the next one; special tokens are not parsed.
        """
        texts = _checked(texts)
        if self.simple:
            ids = self.encode_many(texts, parse_special=False)
            ends = [self._ends_simply(text) for text in texts]
        else:
            found = self._run("encode_batch", texts, False)
            ids = [np.array(one.ids, np.int32) for one in found]
            ends = [np.array([end for _, end in one.offsets], np.int64) for one in found]
        marked = []
        for row, end, asked in zip(ids, ends, places):
            end = np.maximum.accumulate(end) if len(end) else end
            tokens = np.unique(np.searchsorted(end, np.asarray(asked, np.int64), side="right"))
            marked.append((row, tokens[tokens < len(row)].astype(np.int64)))
        return marked

    def batch(
        self,
        texts: Iterable[str],
        text_pair: Iterable[str] | None = None,
        *,
        max_length: int | None = None,
        truncation: inputs.Truncation = False,
        add_special_tokens: bool = True,
        return_token_type_ids: bool | None = None,
    ) -> dict[str, Int[np.ndarray, "B T"]]:
        """{"input_ids", "attention_mask"}, and "token_type_ids" where pairs of texts are told
        apart: rows filled on the right to the longest.

        Args:
            text_pair: a second text for each: a hypothesis, the context of a question.
            max_length: the most tokens of a row.
            truncation: cuts rows that are longer; otherwise they are an error. Of a pair the
                longer text is cut first (True, "longest_first"), or one alone ("only_first",
                "only_second").
            add_special_tokens: those that the tokenizer puts around a text, such as [CLS], [SEP].
            return_token_type_ids: whether there are such; by default where they are not all 0.

        Raises:
            ValueError: no text at all, a row that is too long, or no token to fill rows with.
        """
        return inputs.batch(
            self,
            texts,
            text_pair,
            max_length=max_length,
            truncation=truncation,
            add_special_tokens=add_special_tokens,
            return_token_type_ids=return_token_type_ids,
        )

    def encodings(self, texts: Iterable[str]) -> list[Any]:
        """The Rust library's own records of texts, without special tokens around them."""
        return self._run("encode_batch", _checked(texts), True)

    @property
    def simple(self) -> bool:
        """Whether a token is a byte or a character, which needs no Rust to find."""
        return self.kind in ("byte", "character")

    def special_id(self, role: str) -> int:
        """The id of the special token of a role that the tokenizer has."""
        return self._vocabulary[self.special[role]]

    def _run(self, method: str, texts: list[str], parse_special: bool) -> list[Any]:
        self.inner.encode_special_tokens = not parse_special
        try:
            with refusing("these texts cannot be encoded"):
                return getattr(self.inner, method)(texts, add_special_tokens=False)
        except ValueError:
            _refuse_surrogates(texts)
            raise
        finally:
            self.inner.encode_special_tokens = False

    def _simply(self, text: str, parse_special: bool) -> Int[np.ndarray, " T"]:
        """Bytes and characters are looked up all at once; special tokens stand between them."""
        one = self._bytes if self.kind == "byte" else self._characters
        if not parse_special or self._added is None:
            return one(text)
        rows, place = [np.zeros(0, np.int32)], 0
        for found in self._added.finditer(text):
            rows += [one(text[place : found.start()]), self._vocabulary[found.group()]]
            place = found.end()
        return np.hstack([*rows, one(text[place:])]).astype(np.int32)

    def _bytes(self, text: str) -> Int[np.ndarray, " T"]:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)

    def _characters(self, text: str) -> Int[np.ndarray, " T"]:
        known, ids = self._letters
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        place = np.searchsorted(known, points).clip(max=len(known) - 1)
        found = ids[place]
        if (wrong := known[place] != points).any():
            if "unk" not in self.special:
                first = int(np.argmax(wrong))
                raise ValueError(
                    f"character {text[first]!r} at {first} does not occur in the text that this "
                    "character tokenizer was made from; use tokenizer 'byte' or 'bpe'"
                )
            found = np.where(wrong, self._vocabulary[self.special["unk"]], found)
        return found.astype(np.int32)

    def _ends_simply(self, text: str) -> Int[np.ndarray, " T"]:
        """For each token, the place of the character behind it."""
        if self.kind == "character":
            return np.arange(1, len(text) + 1)
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        sizes = 1 + (points > 0x7F) + (points > 0x7FF) + (points > 0xFFFF)
        return np.repeat(np.arange(1, len(text) + 1), sizes)

    @cached_property
    def _letters(self) -> tuple[np.ndarray, np.ndarray]:
        letters = self.inner.get_vocab(with_added_tokens=False)
        order = sorted(letters, key=ord)
        known = np.array([ord(c) for c in order], np.uint32)
        return known, np.array([letters[c] for c in order], np.int32)

    @cached_property
    def _added(self) -> re.Pattern[str] | None:
        added = [token.content for token in self.inner.get_added_tokens_decoder().values()]
        longest_first = sorted(added, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first))) if added else None

    # ------------------------------------------------------------ ids to text

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; ids that no token has, as in padded embedding tables, give no text.

        Raises:
            ValueError: an id that is negative, or that no table could have.
        """
        row = [int(i) for i in ids]
        if wrong := [i for i in row if not 0 <= i < 2**32]:
            raise ValueError(f"id {wrong[0]} is not in [0, {self.max_id}], the tokenizer's ids")
        with refusing("these ids cannot be decoded"):
            return self.inner.decode(row, skip_special_tokens=False)

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = False,
        **variables: Any,
    ) -> str:
        """A conversation as one text, by the model's chat template, in a sandbox.

        Raises:
            ValueError: there is no template, it fails, or the extra `chat` is missing.
        """
        from transformers_jax.data.chat import render

        special = {f"{role}_token": token for role, token in self.special.items()}
        variables = {**special, "add_generation_prompt": add_generation_prompt, **variables}
        return render(self.chat_template, messages, variables)

    # ------------------------------------------------------------ what others must know

    def vocabulary(self, size: int | None = None) -> Vocabulary:
        """Ids by what they are for, in a table of `size` rows (default: as many as it needs)."""
        size = self.max_id + 1 if size is None else size
        ids = self._vocabulary
        numbered = {int(m[1]): ids[t] for t in ids if (m := SENTINEL.fullmatch(t))}
        count = next(n for n in range(len(numbered) + 1) if n not in numbered)
        added = {token.content for token in self.inner.get_added_tokens_decoder().values()}
        modes = {
            mode: next((ids[t] for t in texts if t in added), None) for mode, texts in MODES.items()
        }
        return Vocabulary(
            size=size,
            special={role: ids[token] for role, token in self.special.items()},
            sentinels=tuple(numbered[n] for n in range(count)),
            modes={mode: i for mode, i in modes.items() if i is not None},
            continues=self._continues(size),
        )

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits: tokens, their ids, and how text is cut into them."""
        return hashlib.sha256(self.inner.to_str().encode()).hexdigest()[:16]

    def _continues(self, size: int) -> Bool[np.ndarray, " V"]:
        """WordPiece marks what continues a word; the others mark the space before one."""
        tokens = self.inner.get_vocab(with_added_tokens=False)
        added = {token.content for token in self.inner.get_added_tokens_decoder().values()}
        prefix = getattr(self.inner.model, "continuing_subword_prefix", None)
        if type(self.inner.model).__name__ == "WordPiece":
            within = lambda token: token.startswith(prefix or "##")
        else:  # a space, tab or line as byte-level BPE, SentencePiece and characters write it
            starts = ("Ġ", "Ċ", "ĉ", "č", "▁", "<0x0A>", "<0x20>", " ", "\n", "\t", "\r")
            within = lambda token: not token.startswith(starts)
        found = np.zeros(size, bool)
        for token, i in tokens.items():
            if i < size and token and token not in added:
                found[i] = within(token)
        return found

    def save(self, folder: str | Path) -> None:
        """Writes tokenizer.json and tokenizer_config.json, as PreTrainedTokenizerFast reads."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.inner.save(str(folder / "tokenizer.json"))
        config: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "kind": self.kind,
        }
        config |= {f"{r}_token": self.special[r] for r in NAMED if r in self.special}
        added = self.inner.get_added_tokens_decoder()
        more = [added[i].content for i in sorted(added) if added[i].special]
        if more := [token for token in more if token not in config.values()]:
            config["additional_special_tokens"] = more
        if self.chat_template is not None:
            config["chat_template"] = self.chat_template
        publish_json(folder / "tokenizer_config.json", config)


def _checked(texts: Iterable[str]) -> list[str]:
    if isinstance(texts, (str, bytes)):
        raise ValueError("several texts are a list of str; one text goes to encode")
    found = list(texts)
    for number, text in enumerate(found):
        if not isinstance(text, str):
            raise ValueError(f"text {number} is {type(text).__name__}, not str; decode it first")
    return found


def _refuse_surrogates(texts: list[str]) -> None:
    for number, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"text {number} has a lone surrogate ({text[error.start]!r}) at {error.start}, "
                "which no UTF-8 text has; replace it, or read the file with errors='strict'"
            ) from None
