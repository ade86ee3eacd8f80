"""One window of sound to tokens, once or at rising temperatures until the text is trusted (Radford
et al. 2022, section 4.5)."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import numpy as np

from transformers_jax.arrays import Float, Int, Key
from transformers_jax.generation import generate
from transformers_jax.speech.vocabulary import Vocabulary

Compressed = Literal["text", "ids"]
RATIOS: dict[str, float] = {"text": 2.4, "ids": 1.35}
"""By what is compressed, the ratio above which a text repeats itself."""


@dataclass(frozen=True, kw_only=True)
class Trust:
    """When a window is decoded again, at the next temperature.

    Attributes:
        temperatures: tried in order; 0 takes the likeliest tokens, the others draw. The last is
            kept, whatever it gives.
        log_probability: mean of the tokens below which a text is not trusted; None: not asked.
        compression: whether bytes of the text or of the ids are compressed (zlib); None: not asked.
        compression_ratio: above which a text repeats itself and is not trusted; None is 2.4 of
            texts, as in the released code, and 1.35 of ids, as in transformers.
        no_speech: probability of silence above which a text that is not likely is left out.
    """

    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    log_probability: float | None = -1.0
    compression: Compressed | None = "text"
    compression_ratio: float | None = None
    no_speech: float | None = 0.6

    def __post_init__(self):
        if not self.temperatures or any(not 0 <= t < math.inf for t in self.temperatures):
            raise ValueError(
                f"temperatures are {self.temperatures}; expected one or more numbers from 0 on"
            )
        if self.compression not in (None, *RATIOS):
            raise ValueError(
                f"compression is {self.compression!r}; expected one of {', '.join(RATIOS)}, or None"
            )
        if self.no_speech is not None and self.log_probability is None:
            raise ValueError(
                "no_speech leaves out what is not likely either: pass log_probability too, or "
                "no_speech=None"
            )


@dataclass(frozen=True)
class Decoded:
    """What a window says.

    Attributes:
        tokens: those that were written, without the end of the text.
        silent: nothing is said: the text is unlikely, and silence likely.
    """

    tokens: tuple[int, ...]
    temperature: float
    log_probability: float
    compression_ratio: float | None
    no_speech: float | None
    silent: bool = False


@dataclass(frozen=True)
class Decoder:
    """What decodes windows: the model and its settings.

    Attributes:
        batch: rows of every call; what is missing is filled up, so that all share one program.
        width: tokens of the longest prompt.
        times: whether times are written.
        options: further options of `generate`, such as `num_beams`, which holds at temperature 0.
    """

    model: Any
    vocabulary: Vocabulary
    tokenizer: Any
    trust: Trust
    times: bool
    options: dict[str, Any]
    key: Key
    batch: int
    width: int

    def encode(self, features: Sequence[Float[np.ndarray, "M F"]]) -> Any:
        """The states of the encoder, of at most `batch` windows of the model's length."""
        return self.model.encode(input_features=np.stack(self._full(features)))

    def __call__(self, states: Any, prompts: Sequence[Sequence[int]], number: int) -> list[Decoded]:
        """Each row's text, at the first temperature at which it is trusted.

        Args:
            states: of the encoder, whose first rows are those of the prompts.
            number: of this batch of windows; together with the key it determines what is drawn.
        """
        silence = self._silence(states, prompts)
        found: dict[int, Decoded] = {}
        rows = list(range(len(prompts)))
        for turn, temperature in enumerate(self.trust.temperatures):
            key = jax.random.fold_in(jax.random.fold_in(self.key, number), turn)
            texts = self._at(temperature, states, self._full(rows), prompts, key)
            for row, one in zip(rows, texts):
                found[row] = self._judged(one, silence[row])
            rows = [row for row in rows if not self._trusted(found[row])]
            if not rows:
                break
        return [found[row] for row in range(len(prompts))]

    def _at(
        self,
        temperature: float,
        states: Any,
        rows: list[int],
        prompts: Sequence[Sequence[int]],
        key: Key,
    ) -> list[Decoded]:
        """The text of some rows at one temperature."""
        states = jax.tree.map(lambda x: x[np.array(rows)], states)
        ids, mask = side_by_side([prompts[row] for row in rows], self.width)
        most = self.model.reading.positions - ids.shape[1]
        options: dict[str, Any] = {"max_new_tokens": most, **self.options}
        if temperature:
            options |= {"do_sample": True, "temperature": temperature, "key": key, "num_beams": 1}
        else:
            options["do_sample"] = False
        beams = options.get("num_beams", 1) > 1
        options["output_log_probs"] = not beams
        out = generate(
            self.model,
            encoder_outputs=states,
            decoder_input_ids=ids,
            decoder_attention_mask=mask,
            return_timestamps=self.times,
            return_dict_in_generate=True,
            **options,
        )
        written = np.asarray(out.sequences)[:, ids.shape[1] :]
        likely = np.asarray(out.sequences_scores if beams else out.token_log_probs)
        found = []
        for tokens, scores in zip(written.tolist(), likely):
            ended = next((i for i, t in enumerate(tokens) if t in self.vocabulary.end), len(tokens))
            mean = float(scores) if beams else float(np.mean(scores[: ended + 1]))
            ratio = self._ratio(tokens[: ended + 1])
            found.append(Decoded(tuple(tokens[:ended]), temperature, mean, ratio, None))
        return found

    def _judged(self, one: Decoded, silence: float | None) -> Decoded:
        """The text with the probability of silence, and whether that is believed."""
        most = self.trust.no_speech
        silent = most is not None and silence is not None and silence > most
        return replace(one, no_speech=silence, silent=silent and self._unlikely(one))

    def _unlikely(self, one: Decoded) -> bool:
        least = self.trust.log_probability
        return least is not None and one.log_probability < least

    def _trusted(self, one: Decoded) -> bool:
        if one.silent:
            return True
        most = self.trust.compression_ratio
        if most is None:
            most = RATIOS.get(self.trust.compression or "", math.inf)
        return not self._unlikely(one) and (one.compression_ratio or 0.0) <= most

    def _ratio(self, tokens: Sequence[int]) -> float | None:
        """How much shorter the window's text, or its ids, become when they are compressed."""
        if self.trust.compression is None:
            return None
        if self.trust.compression == "text":
            raw = self.text(tokens).encode()
        else:  # as transformers counts it, the end of the text included
            width = int(math.log2(self.model.config.vocab_size) / 8) + 1
            raw = b"".join(token.to_bytes(width, "little") for token in tokens)
        return len(raw) / len(zlib.compress(raw))

    def text(self, tokens: Sequence[int]) -> str:
        """The words among the tokens: no times, and nothing that says what to do."""
        first = self.vocabulary.first_time
        words = [t for t in tokens if first is None or t < first]
        return self.tokenizer.decode(words, skip_special_tokens=True)

    def _silence(self, states: Any, prompts: Sequence[Sequence[int]]) -> list[float | None]:
        """The probability of the token for silence after the start of each row's text."""
        token = self.vocabulary.no_speech
        if token is None or self.trust.no_speech is None:
            return [None] * len(prompts)
        ids, mask = side_by_side(self._full(prompts), self.width)
        out = self.model(
            encoder_outputs=states,
            decoder_input_ids=ids,
            decoder_attention_mask=mask,
            decoder_tags={"position": np.maximum(mask.cumsum(1) - 1, 0)},
        )
        back = [1 + list(row)[::-1].index(self.vocabulary.start) for row in prompts]
        logits = out.logits[np.arange(len(back)), ids.shape[1] - np.array(back)]
        return np.asarray(jax.nn.softmax(logits, axis=-1)[:, token]).tolist()

    def languages(self, states: Any) -> list[str]:
        """The language of each row: of all tokens for languages, the one that most likely follows
        the start (Radford et al. 2022, section 2.3)."""
        codes = list(self.vocabulary.languages)
        ids = np.full((self.batch, 1), self.vocabulary.start)
        logits = self.model(encoder_outputs=states, decoder_input_ids=ids).logits[:, -1]
        tokens = np.array([self.vocabulary.languages[code] for code in codes])
        return [codes[i] for i in np.asarray(logits)[:, tokens].argmax(-1)]

    def _full(self, rows: Sequence[Any]) -> list[Any]:
        """The rows of a call, the first one repeated."""
        return [*rows, *[rows[0]] * (self.batch - len(rows))]


def side_by_side(
    prompts: Sequence[Sequence[int]], width: int
) -> tuple[Int[np.ndarray, "B T"], Int[np.ndarray, "B T"]]:
    """(ids, mask) of prompts of several lengths, padded on the left with 0."""
    ids = np.zeros((len(prompts), width), np.int32)
    mask = np.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = prompt
        mask[row, width - len(prompt) :] = 1
    return ids, mask
