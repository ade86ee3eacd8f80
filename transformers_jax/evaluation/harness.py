"""The model through which lm-evaluation-harness (EleutherAI; `lm_eval`) drives ours.

    import lm_eval
    from transformers_jax.evaluation import harness
    lm_eval.simple_evaluate(model="transformers_jax", model_args={"pretrained": DIR}, tasks=[...])

or `python -m transformers_jax.evaluation.harness run --model transformers_jax --model_args
pretrained=DIR --tasks NAME`: the harness's own command, which knows the model. It needs the extra
`harness`, and no PyTorch: of the harness only the files of its PyTorch models import that.

What is computed is what its own `hf` model computes: contexts are cut at their front to what the
model takes, an empty one is the token in front of texts, and long documents are read in windows
that overlap by one token.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from lm_eval.models.utils import normalize_gen_kwargs
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError as error:
    raise ImportError(
        f'this needs the extra `harness` ({error}): pip install "transformers-jax[harness]"'
    ) from None

from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.evaluation.writing import prompt_ids, write_answers
from transformers_jax.hub.download import resolve
from transformers_jax.models.base import Model
from transformers_jax.pretrained import from_pretrained
from transformers_jax.scoring.continuations import check_fits, cut_context, scores_of
from transformers_jax.scoring.pairs import Pair, check_writes, rows_of
from transformers_jax.scoring.windows import longest
from transformers_jax.sizes import check_count
from transformers_jax.together import check_together
from transformers_jax.training.exported import model_folder

UNBOUNDED = 10**9  # model_max_length of tokenizers that know no limit is 1e30


@register_model("transformers_jax")
class Harness(TemplateLM):
    """A decoder or an encoder-decoder of ours, as lm-evaluation-harness calls it.

    Args:
        pretrained: a directory, a run, or a hub id; or a model, with its `tokenizer`.
        tokenizer: instead of the one in the directory.
        batch_size: requests that are computed together.
        max_length: the most tokens that the model reads; by default what it or its tokenizer says.
        max_gen_toks: new tokens of an answer, where a task does not say it.
        add_bos_token: whether a text has the special tokens that the tokenizer puts in front of it;
            by default as the tokenizer does.
        prefix_token_id: stands in front of a text without a context; by default the token that
            begins texts, else the one that ends them.
        dtype: of the parameters.
        seed: of what is drawn, where a task samples.

    Raises:
        ValueError: a model that continues no texts, one without a tokenizer or without a longest
            text, a size that is no number.
    """

    def __init__(
        self,
        pretrained: str | Path | Model,
        *,
        tokenizer: Any = None,
        batch_size: int | str = 16,
        max_length: int | None = None,
        max_gen_toks: int = 256,
        add_bos_token: bool = True,
        prefix_token_id: int | None = None,
        dtype: str = "float32",
        seed: int = 0,
        device: str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if device is not None:
            raise ValueError(
                f"device={device!r}: JAX chooses the device; set JAX_PLATFORMS=cpu, cuda or tpu"
            )
        if max_batch_size is not None or not str(batch_size).isdigit():
            raise ValueError(
                f"batch_size={batch_size!r} (max_batch_size={max_batch_size!r}): give a number, "
                "such as batch_size=16; no size is searched for"
            )
        self.name = "a model" if isinstance(pretrained, Model) else str(pretrained)
        if not isinstance(pretrained, Model):
            folder = resolve(model_folder(str(pretrained)))
            tokenizer = load_tokenizer(folder) if tokenizer is None else tokenizer
            pretrained = from_pretrained(folder, dtype=dtype)
        self.model: Model = pretrained
        check_writes(self.model, "lm-evaluation-harness")
        if tokenizer is None:
            raise ValueError("a model is evaluated with tokenizer=tj.load_tokenizer(path)")
        check_together(self.model, tokenizer)
        self.tokenizer = tokenizer
        self.backend = "seq2seq" if self.model.is_encoder_decoder else "causal"
        self.batch_size, self.max_gen_toks = int(batch_size), int(max_gen_toks)
        self.add_bos_token = add_bos_token
        self.max_length = _max_length(self.model, tokenizer) if max_length is None else max_length
        for name in ("batch_size", "max_length", "max_gen_toks"):
            check_count(name, getattr(self, name))
        self._prefix, self._key = prefix_token_id, jax.random.key(seed)

    # ------------------------------------------------------------ tokens

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self._special("eos")

    @property
    def prefix_token_id(self) -> int:
        """The token in front of a text without a context."""
        if self._prefix is not None:
            return self._prefix
        return self._special("bos" if "bos" in self.tokenizer.special else "eos")

    def _special(self, role: str) -> int:
        if role not in self.tokenizer.special:
            raise ValueError(
                f"the tokenizer has no token that {'begins' if role == 'bos' else 'ends'} a text; "
                "give prefix_token_id=, the token in front of a text without a context"
            )
        return int(self.tokenizer.special_id(role))

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **options: Any
    ) -> list[int]:
        """The ids of a text, as a source (with what ends it) or as the beginning of a text; a text
        that begins with the token that begins texts gets no second one."""
        special = self.add_bos_token if add_special_tokens is None else add_special_tokens
        front = self.tokenizer.special.get("bos")
        if add_special_tokens is None and front and string.startswith(front):
            special = False
        return rows_of(self.tokenizer, [string], special, self.backend == "seq2seq")[0].tolist()

    # ------------------------------------------------------------ log-probabilities

    def _loglikelihood_tokens(
        self, requests: list[Any], disable_tqdm: bool = False, **options: Any
    ) -> list[tuple[float, bool]]:
        pairs = [
            Pair(np.array(context, np.int32), np.array(continuation, np.int32))
            for _, context, continuation in requests
        ]
        pairs = [cut_context(n, p, self.model, self.max_length) for n, p in enumerate(pairs)]
        check_fits(self.model, pairs)
        each, greedy = scores_of(self.model, pairs, self.batch_size)
        answers = [(float(row.sum()), bool(best)) for row, best in zip(each, greedy)]
        for (texts, *_), answer in zip(requests, answers):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, answer)
        return answers

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-probability of each document, read in windows that overlap by one token."""
        windows: list[tuple[int, Any]] = []
        for number, request in enumerate(requests):
            for pair in get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            ):
                windows.append((number, (None, *make_disjoint_window(pair))))
        sums = [0.0] * len(requests)
        found = self._loglikelihood_tokens([window for _, window in windows])
        for (number, _), (log_prob, _) in zip(windows, found):
            sums[number] += log_prob
        for request, total in zip(requests, sums):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return sums

    # ------------------------------------------------------------ texts

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """What is written behind each context, up to a string that ends it."""
        groups: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            groups.setdefault(repr(request.args[1]), []).append(number)
        answers = [""] * len(requests)
        for numbers in groups.values():
            options, until, count = self._options(requests[numbers[0]].args[1])
            rows = [self._prompt(requests[n].args[0], count) for n in numbers]
            written = write_answers(
                self.model, self.tokenizer, rows, until=until, max_new_tokens=count,
                batch_size=self.batch_size, **options,
            )  # fmt: skip
            for number, text in zip(numbers, written):
                answers[number] = text
                self.cache_hook.add_partial("generate_until", requests[number].args, text)
        return answers

    def _options(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str], int]:
        """(options of `generate`, what ends an answer, its most tokens) of a task's settings."""
        options: dict[str, Any] = dict(normalize_gen_kwargs(dict(given), self.max_gen_toks))
        until, count = options.pop("until"), options.pop("max_gen_toks")
        if not options["do_sample"]:
            options = {n: x for n, x in options.items() if n not in ("temperature", "top_p")}
        else:
            options["key"] = self._key
        if self.backend == "causal" and count >= self.max_length:
            raise ValueError(
                f"an answer of {count} tokens leaves no room for its prompt within "
                f"max_length={self.max_length}; set max_gen_toks of the task or of the model lower"
            )
        return options, until, count

    def _prompt(self, context: str, count: int) -> Any:
        ids = self.tok_encode(context) or [self.prefix_token_id]
        return prompt_ids(self.model, ids, self.max_length, count)

    # ------------------------------------------------------------ chats

    @property
    def tokenizer_name(self) -> str:
        """What requests that were cached are known by."""
        return self.name.replace("/", "__")

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A conversation as text, by the model's chat template; without the generation prompt it
        ends with the last message, which is to be continued."""
        text = self.tokenizer.chat(chat_history, add_generation_prompt=add_generation_prompt)
        if add_generation_prompt:
            return text
        last = chat_history[-1]["content"].strip()
        return text[: text.rindex(last) + len(last)]


def _max_length(model: Model, tokenizer: Any) -> int:
    most = tokenizer.model_max_length
    try:
        return longest(model)
    except ValueError:
        if most is not None and most < UNBOUNDED:
            return int(most)
        raise ValueError(
            f"{model.config.model_type} takes texts of any length: give max_length=, such as 2048"
        ) from None


def main() -> None:
    """The harness's own command, in which the model is known."""
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    main()
