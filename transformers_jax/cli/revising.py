"""`transformers-jax revise`: texts whose masks a model writes, in any order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tyro.conf import DisallowNone, UseAppendAction

from transformers_jax.cli import texts
from transformers_jax.cli.files import trained
from transformers_jax.cli.models import Ignored, Model
from transformers_jax.json_files import json_text
from transformers_jax.printing import print_line
from transformers_jax.runs.pretrain import keep_compiled_programs
from transformers_jax.training.exported import model_folder

GAP = "_"
"""What stands for a token that is still to be written."""


@dataclass(frozen=True, kw_only=True)
class Revise:
    """Write the masks of texts, in any order, by a model of masked words.

    Masks may stand anywhere in a text, as the tokenizer writes them ([MASK], <mask>); new ones are
    put behind it. What is given stays.
    """

    model: Model
    prompt: UseAppendAction[tuple[str, ...]] = ()
    """may be given several times; '' starts from masks alone"""
    ids: UseAppendAction[tuple[str, ...]] = ()
    """a text as token ids, such as '5 17 3'"""
    max_new_tokens: int = 0
    """masks behind each text"""
    steps: DisallowNone[int | None] = None
    """passes in which a block is written; one for each token if not given"""
    block_length: DisallowNone[int | None] = None
    """write so many tokens before those behind them"""
    order: Literal["confidence", "random"] = "confidence"
    """which tokens stay first: those that the model is surest of, or random ones"""
    do_sample: bool = False
    """draw tokens instead of taking the likeliest"""
    temperature: float = 1.0
    """of tokens that are drawn"""
    mask_token_id: DisallowNone[int | None] = None
    """the mask token of --ids"""
    seed: int = 0
    """of what is drawn; same seed, same text"""
    dtype: str = "float32"
    """of the parameters: float32, bfloat16, auto, ..."""
    ignore: Ignored = ()
    show: bool = False
    """print each text after every pass"""
    out: DisallowNone[str | None] = None
    """a .png file: a picture of one text after some of the passes (the extra viz)"""
    json: bool = False
    """a JSON object a line: prompt, text, and how many passes there were"""

    def run(self) -> None:
        """Prints the texts."""
        import numpy as np

        import transformers_jax as tj

        if self.ids and self.prompt:
            raise ValueError("--ids and --prompt exclude each other; give texts as one kind")
        if self.ids and self.mask_token_id is None:
            raise ValueError("--ids need --mask-token-id N, which says where to write")
        if not self.ids and self.mask_token_id is not None:
            raise ValueError("--mask-token-id goes with --ids; a tokenizer names its own")
        if self.show and self.json:
            raise ValueError("--show and --json exclude each other")
        if self.out is not None and (len(self.ids or self.prompt) != 1 or self.out[-4:] != ".png"):
            raise ValueError(f"--out {self.out}: expected a .png file, of one --prompt or --ids")
        keep_compiled_programs()
        folder = model_folder(self.model)
        tokenizer = None if self.ids else texts.read_tokenizer(folder)
        prompts = list(self.ids or self.prompt or texts.read_prompts())
        with trained(self.model, "it was not trained to fill in masks"):
            model: Any = tj.from_pretrained(folder, dtype=self.dtype, ignore=self.ignore)
        settings = self._settings()
        if tokenizer is None:
            rows = [texts.encode(None, prompt) for prompt in prompts]
            width = max(map(len, rows))
            settings["input_ids"] = np.array([row + [0] * (width - len(row)) for row in rows])
            lengths = np.array([[len(row)] for row in rows])
            settings["attention_mask"] = (np.arange(width) < lengths).astype(np.int32)
        else:
            settings |= {"texts": prompts, "tokenizer": tokenizer}
        made = tj.revise(model, **settings, return_dict_in_generate=True)
        for number, prompt in enumerate(prompts):
            self._print(tokenizer, number, prompt, made)
        if self.out is not None:
            self._draw(tokenizer, made)

    def _settings(self) -> dict[str, Any]:
        """The settings of `tj.revise`, and a key where something is drawn."""
        names = (
            "max_new_tokens steps block_length order do_sample temperature mask_token_id".split()
        )
        settings: dict[str, Any] = {name: getattr(self, name) for name in names}
        if self.do_sample or self.order == "random":
            settings["key"] = texts.random_key(self.seed)
        return settings

    def _print(self, tokenizer: Any, number: int, prompt: str, made: Any) -> None:
        import numpy as np

        ids, steps = np.asarray(made.sequences)[number], np.asarray(made.steps)[number]
        length = int(made.lengths[number])
        ids, steps = ids[:length], steps[:length]
        passes = int(steps.max())
        text = texts.decode(None, ids.tolist()) if tokenizer is None else made.texts[number]
        if self.json:
            print(json_text({"prompt": prompt, "text": text, "passes": passes}))
            return
        for done in range(passes + 1) if self.show else ():
            print_line(f"{done:>4}  {spelled(tokenizer, ids, steps <= done)}")
        if not self.show:
            print_line(text)

    def _draw(self, tokenizer: Any, made: Any) -> None:
        """Writes the picture of the first text."""
        import numpy as np

        from transformers_jax.inspection.revised import draw_revised

        length, out = int(made.lengths[0]), Path(str(self.out)).expanduser()
        ids, steps = (np.asarray(x)[0, :length] for x in (made.sequences, made.steps))
        words = [texts.decode(tokenizer, [token]) for token in ids.tolist()]
        words = [" ".join(word.split()) or "·" for word in words]
        out.parent.mkdir(parents=True, exist_ok=True)
        print_line(f"wrote {draw_revised(words, steps, out, f'{self.model}, pass by pass')}")


def spelled(tokenizer: Any, ids: Any, known: Any) -> str:
    """A text of which some tokens are not known yet."""
    import numpy as np

    if tokenizer is None:
        return " ".join(str(token) if here else GAP for token, here in zip(ids.tolist(), known))
    mask = tokenizer.special_id("mask")
    text: str = tokenizer.decode(np.where(known, ids, mask).tolist())
    return text.replace(tokenizer.special["mask"], GAP)
