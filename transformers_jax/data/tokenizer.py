"""What a tokenizer does once it is there: text to ids and back, batches, chats, and its own files.

A `Tokenizer` wraps one of the Rust library, so that a run exports a tokenizer.json that any other
library reads, and any tokenizer.json can be used in a run.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data import inputs, tokenizer_settings
from transformers_jax.data import special as specials
from transformers_jax.data.lookup import Lookup, refuse_surrogates
from transformers_jax.data.tokenizer_settings import NAMED
from transformers_jax.objectives.vocabulary import ROLES, Vocabulary
from transformers_jax.publish import publish_json

KINDS = ("byte", "character", "bpe", "wordpiece", "unigram")


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
        self._lock = threading.Lock()
        self._named = dict(special or {})
        self._read_vocabulary()

    def _read_vocabulary(self) -> None:
        """All that follows from which tokens there are."""
        vocabulary = self.inner.get_vocab(with_added_tokens=True)
        if not vocabulary:
            raise ValueError("this tokenizer has no tokens")
        self.max_id = max(vocabulary.values())
        named = dict(self._named)
        for role, spellings in specials.SPELLED.items():
            named.setdefault(role, next((s for s in spellings if s in vocabulary), ""))
        self.special = {role: named[role] for role in ROLES if named.get(role) in vocabulary}
        self._vocabulary = vocabulary
        for name in ("lookup", "fingerprint", "gives_types"):
            self.__dict__.pop(name, None)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __repr__(self) -> str:
        model = self.kind if self.kind in KINDS else type(self.inner.model).__name__
        special = ", ".join(f"{r}={t!r} {self._vocabulary[t]}" for r, t in self.special.items())
        most = "unknown" if self.model_max_length is None else self.model_max_length
        return (
            f"Tokenizer({self.tokenizer_class or 'no class'}, {model}, {len(self._vocabulary)} "
            f"tokens with ids up to {self.max_id}\n"
            f"  special: {special or 'none'}\n"
            f"  padding_side={self.padding_side!r}, truncation_side={self.truncation_side!r}, "
            f"model_max_length={most}, token types of pairs: {'yes' if self.gives_types else 'no'})"
        )

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
        texts = inputs.check_texts(texts)
        if self.simple:
            refuse_surrogates(texts)
            return [self.lookup.ids(text, parse_special) for text in texts]
        found = self.run("encode_batch_fast", texts, parse_special=parse_special)
        return [np.array(one.ids, np.int32) for one in found]

    def encode_marked(
        self, texts: Sequence[str], places: Sequence[Sequence[int]]
    ) -> list[tuple[Int[np.ndarray, " T"], Int[np.ndarray, " s"]]]:
        """The ids of texts, and the tokens in which the characters at `places` lie, each once.

        Places in what becomes no token count for the next one; special tokens are not parsed.
        """
        texts = inputs.check_texts(texts)
        if self.simple:
            ids = self.encode_many(texts, parse_special=False)
            ends = [self.lookup.ends(text) for text in texts]
        else:
            found = self.run("encode_batch", texts, parse_special=False)
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
        texts: Iterable[Any],
        text_pair: Iterable[Any] | None = None,
        **options: Unpack[inputs.Options],
    ) -> dict[str, Any]:
        """{"input_ids", "attention_mask"}, Int[B T] each, and "token_type_ids" of pairs of texts
        where the tokenizer's class has them (`gives_types`). Options are named as in Hugging Face's
        `__call__`.

        Args:
            text_pair: a second text for each: a hypothesis, the context of a question.
            padding: True or "longest" fills rows to the longest, "max_length" all to max_length;
                with False arrays are lists with an array for each row.
            pad_to_multiple_of: makes the width a multiple, so that batches of many lengths are
                computed by few compiled programs.
            padding_side, truncation_side: "left" or "right"; by default the tokenizer's own.
            max_length: the most tokens of a row; where truncation or padding need it and it is not
                given, `model_max_length`.
            truncation: cuts rows that are longer; otherwise they are an error. Of a pair the
                longer text is cut first (True, "longest_first"), or one alone ("only_first",
                "only_second").
            return_overflowing_tokens: what is cut off comes in further rows, of which each shares
                `stride` tokens with the one before; "overflow_to_sample_mapping" Int[B] says of
                which text a row is.
            is_split_into_words: whether a text is a list of its words.
            add_special_tokens: those that the tokenizer puts around a text, such as [CLS], [SEP].
            return_token_type_ids: True or False has the last word.
            return_offsets_mapping: "offset_mapping" Int[B T 2], the characters of each token, from
                and to; where texts are split into words, in its word. (0, 0) of special tokens.
            return_word_ids: "word_ids" Int[B T], the number of each token's word, or -1.
            return_sequence_ids: "sequence_ids" Int[B T]: 0 for tokens of the text, 1 for those of
                text_pair, -1 for neither.
            return_special_tokens_mask: "special_tokens_mask" Int[B T]: 1 where a token is of no
                text.

        Raises:
            TypeError: an unknown option, with the nearest name.
            ValueError: no text at all, a row that is too long, no token to fill rows with, or
                options that do not go together.
        """
        return inputs.batch(self, texts, text_pair, **options)

    @property
    def simple(self) -> bool:
        """Whether a token is a byte or a character, which needs no Rust to find."""
        return self.kind in ("byte", "character")

    @cached_property
    def lookup(self) -> Lookup:
        """How texts become ids where `simple`."""
        unknown = self._vocabulary[self.special["unk"]] if "unk" in self.special else None
        return Lookup(self.inner, self.kind, unknown)

    @cached_property
    def gives_types(self) -> bool:
        """Whether `batch` gives token types for pairs of texts: by the class if it is known, else
        if the tokenizer frames texts as BERT's does ([CLS] a [SEP] b [SEP]) and numbers them."""
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
    ) -> list[Any]:
        """The Rust library's records of texts. How it cuts and parses is set, and set back, on a
        tokenizer that threads share: one at a time."""
        texts, inner = list(texts), self.inner
        with self._lock:
            try:
                with refusing("these texts cannot be encoded"):
                    inner.encode_special_tokens = not parse_special
                    if truncation is not None:
                        inner.enable_truncation(**truncation)
                    return getattr(inner, method)(
                        texts,
                        add_special_tokens=add_special_tokens,
                        is_pretokenized=is_pretokenized,
                    )
            except ValueError:
                refuse_surrogates(texts)
                raise
            finally:
                inner.encode_special_tokens = False
                inner.no_truncation()

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """How many tokens were added, behind all that there are; those that it has stay theirs.

        Args:
            new_tokens: a text, a `tokenizers.AddedToken` (with its flags), or several.
            special_tokens: whether `decode(skip_special_tokens=True)` leaves them out. Special
                tokens are found in a text before it is normalised (lower-cased, ...), others after.

        The model's table grows with `tj.resize_embeddings(model, tokenizer.max_id + 1, key=key)`.

        Raises:
            ValueError: what is no token, or an empty one.
        """
        records = specials.records(new_tokens, special_tokens)
        with self._lock:
            before = len(self.inner.get_vocab(with_added_tokens=True))
            for token in records:
                add = self.inner.add_special_tokens if token.special else self.inner.add_tokens
                add([token])
        self._read_vocabulary()
        return len(self._vocabulary) - before

    def add_special_tokens(self, special_tokens_dict: Mapping[str, Any]) -> int:
        """How many tokens were added; each is, or becomes, the special token of its role.

        Args:
            special_tokens_dict: {"pad_token": "<pad>", ...}, and "additional_special_tokens", a
                list, for those without a role. A token that is there already only gets the role:
                {"pad_token": "<|endoftext|>"}.

        Raises:
            ValueError: an unknown name, with the nearest.
        """
        specials.check_names(special_tokens_dict)
        count = 0
        for name, given in special_tokens_dict.items():
            count += self.add_tokens(given, special_tokens=True)
            if name != "additional_special_tokens":
                self._named[name.removesuffix("_token")] = getattr(given, "content", given)
        self._read_vocabulary()
        return count

    # ------------------------------------------------------------ ids to text

    def decode(
        self,
        ids: Iterable[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> str:
        """The text of ids; ids that no token has, as in padded embedding tables, give no text.

        Args:
            skip_special_tokens: leaves out [CLS], <pad> and their kin.
            clean_up_tokenization_spaces: takes away spaces before punctuation; by default as
                tokenizer_config.json says, and not for byte pairs, which have their own spaces.

        Raises:
            ValueError: an id that is negative, or that no table could have; several rows.
        """
        array = np.asarray(ids if hasattr(ids, "__array__") else list(ids))
        if array.ndim > 1:
            raise ValueError(
                f"ids have shape {array.shape}: decode is for one row, and batch_decode for several"
            )
        row = [int(i) for i in array.reshape(-1)]
        if wrong := [i for i in row if not 0 <= i < 2**32]:
            raise ValueError(f"id {wrong[0]} is not in [0, {self.max_id}], the tokenizer's ids")
        with refusing("these ids cannot be decoded"):
            text = self.inner.decode(row, skip_special_tokens=skip_special_tokens)
        if clean_up_tokenization_spaces is None:
            told = self.config.get("clean_up_tokenization_spaces", False)
            clean_up_tokenization_spaces = told and type(self.inner.model).__name__ != "BPE"
        return tokenizer_settings.cleaned(text) if clean_up_tokenization_spaces else text

    def batch_decode(
        self,
        rows: Iterable[Iterable[int]],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """The text of each row; see `decode`."""
        return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in rows]

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
        return specials.vocabulary(self, size)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits: tokens, their ids, and how text is cut into them."""
        return hashlib.sha256(self.inner.to_str().encode()).hexdigest()[:16]

    def save(self, folder: str | Path) -> None:
        """Writes tokenizer.json (or `files`), tokenizer_config.json and special_tokens_map.json,
        from which PyTorch transformers makes the same tokenizer: of the class that it came from,
        with its sides, lengths, token types and whatever else its config said."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if not self.files:
            self.inner.save(str(folder / "tokenizer.json"))
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        config = tokenizer_settings.written(self)
        publish_json(folder / "tokenizer_config.json", config)
        roles = {name: config[name] for role in NAMED if (name := f"{role}_token") in config}
        publish_json(folder / "special_tokens_map.json", roles)
