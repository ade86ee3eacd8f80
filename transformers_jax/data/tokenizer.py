"""What a tokenizer does once it is there: text to ids and back, batches, chats, and its own files.

A `Tokenizer` wraps one of the Rust library, so that a run exports a tokenizer.json that any other
library reads, and any tokenizer.json can be used in a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data import inputs, tokenizer_settings
from transformers_jax.data import special as specials
from transformers_jax.data.tokenizer_settings import NAMED
from transformers_jax.data.wrapped import Wrapped, check_surrogates, check_texts, refusing
from transformers_jax.objectives.vocabulary import Vocabulary
from transformers_jax.publish import publish, publish_json

KINDS = ("byte", "character", "bpe", "wordpiece", "unigram")
"""Tokenizers that are learned from texts."""

MADE = (*KINDS, "residues")
"""Those, and the one whose letters are known, of which no file has to be there."""


class Tokenizer(Wrapped):
    """`encode(text) -> ids`, `decode(ids) -> text`; attributes are those of `Wrapped`."""

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
            ValueError: no text (bytes, None, lone surrogates), or a character without an id.
        """
        return self.encode_many([text], parse_special=parse_special)[0]

    def encode_many(
        self, texts: Iterable[str], *, parse_special: bool = True
    ) -> list[Int[np.ndarray, " T"]]:
        """The ids of several texts, on all cores."""
        texts = check_texts(texts)
        if self.simple:
            check_surrogates(texts)
            return [self.symbol_ids(text, parse_special) for text in texts]
        rows = self.run("encode_batch_fast", texts, parse_special=parse_special)
        return [np.array(one.ids, np.int32) for one in rows]

    def encode_marked(
        self, texts: Sequence[str], positions: Sequence[Sequence[int]]
    ) -> tuple[list[Int[np.ndarray, " T"]], list[Int[np.ndarray, " s"]]]:
        """The ids of texts, and the tokens in which the characters at `positions` lie, each once.

        Positions in what becomes no token count for the next one; special tokens are not parsed.
        """
        marks = []
        rows = self.run("encode_batch", check_texts(texts), parse_special=False)
        for row, starts in zip(rows, positions):
            ends = np.array([end for _, end in row.offsets], np.int64)
            ends = np.maximum.accumulate(ends) if len(ends) else ends
            tokens = np.unique(np.searchsorted(ends, np.asarray(starts, np.int64), side="right"))
            marks.append(tokens[tokens < len(ends)].astype(np.int64))
        return [np.array(row.ids, np.int32) for row in rows], marks

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
            max_length: the most tokens of a row; where truncation or padding need it, by default
                `model_max_length`.
            truncation: cuts rows that are longer; otherwise they are an error. Of a pair the
                longer text is cut first (True, "longest_first"), or only one ("only_first",
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
        for name, token in special_tokens_dict.items():
            count += self.add_tokens(token, special_tokens=True)
            if name != "additional_special_tokens":
                self._named[name.removesuffix("_token")] = getattr(token, "content", token)
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
            cleans = self.config.get("clean_up_tokenization_spaces", False)
            clean_up_tokenization_spaces = cleans and type(self.inner.model).__name__ != "BPE"
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

    def save(self, folder: str | Path) -> None:
        """Writes tokenizer.json (or `files`), tokenizer_config.json and special_tokens_map.json,
        from which PyTorch transformers makes the same tokenizer: of the class that it came from,
        with its sides, lengths, token types and whatever else its config said."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if not self.files:
            publish(folder / "tokenizer.json", self.inner.to_str(pretty=True))
        for name, content in self.files.items():
            publish(folder / name, content)
        config = tokenizer_settings.written(self)
        publish_json(folder / "tokenizer_config.json", config)
        roles = {name: config[name] for role in NAMED if (name := f"{role}_token") in config}
        publish_json(folder / "special_tokens_map.json", roles)
