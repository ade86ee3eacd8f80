"""Small runs of fine-tuning, which PyTorch has made as well: models, tables and settings.

`make_finetune_fixtures.py` makes what lies in finetune/.
"""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import jax

import transformers_jax as tj
from transformers_jax.data.tokenizers import train_tokenizer
from transformers_jax.optim.schedules import Linear
from transformers_jax.runs.recipe import Recipe, with_settings
from transformers_jax.training.config import TrainConfig

FOLDER = Path(__file__).parent / "finetune"
STEPS, BATCH, WARMUP, PEAK, DECAY, CLIP = 100, 6, 10, 2e-3, 0.05, 0.7
QUIET = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
SIZES = dict(n_positions=48, n_embd=16, n_layer=2, n_head=2, n_inner=24, bos_token_id=None)
STILL = dict(embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)
WORDS = "zero one two three four five six seven eight nine".split()
RELATIVE = (("*.score.*", 0.0),)
"""The tables of relative positions do not decay where PyTorch's Trainer goes by their name, which
has `bias` in it."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and what it learns.

    Attributes:
        architecture: the class of PyTorch's transformers.
        settings: of the run, beside those that all cases share.
    """

    task: str
    head: str
    architecture: str
    kind: str
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    adapter: tj.LoRA | None = None


LORA = tj.LoRA(rank=3, alpha=6, targets=("c_attn",), modules_to_save=("score",))
CASES = {
    "bert": Case(
        "sequence_classification", "sequence_classification", "BertForSequenceClassification",
        "wordpiece",
    ),
    "gpt2": Case("instruction", "causal_lm", "GPT2LMHeadModel", "character"),
    "gpt2-lora": Case(
        "sequence_classification", "sequence_classification", "GPT2ForSequenceClassification",
        "character", adapter=LORA,
    ),
    "t5": Case(
        "translation", "seq2seq_lm", "T5ForConditionalGeneration", "character",
        {"optimizer.decay": RELATIVE},
    ),
}  # fmt: skip


def records(task: str) -> list[dict[str, str]]:
    """A table of sums and of numbers in words: 40 records, of unlike lengths."""
    draw, made = random.Random(0), []
    for _ in range(40):
        row = [draw.randrange(10) for _ in range(draw.randint(1, 5))]
        text = " ".join(WORDS[n] for n in row)
        label = "odd" if sum(row) % 2 else "even"
        digits = " ".join(map(str, row))
        made.append(
            {
                "sequence_classification": {"text": text, "label": label},
                "instruction": {"prompt": f"{text} is ", "response": digits},
                "translation": {"source": text, "target": digits},
            }[task]
        )
    return made


def write(name: str, folder: Path) -> None:
    """Writes model, tokenizer and table of a case."""
    case, rows = CASES[name], records(CASES[name].task)
    texts = [text for row in rows for text in row.values()]
    roles = {"wordpiece": ("pad", "unk", "cls", "sep")}
    words = train_tokenizer(case.kind, texts, 90, roles=roles.get(case.kind, ("pad", "eos", "unk")))
    size, labels = words.max_id + 1, {"id2label": {0: "even", 1: "odd"}}
    special = {"pad_token_id": words.special_id("pad")}
    if case.kind != "wordpiece":
        special |= {"eos_token_id": words.special_id("eos")}
    if name == "bert":
        config: Any = tj.BertConfig(
            vocab_size=size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=24, max_position_embeddings=24, **QUIET, **special,
        )  # fmt: skip
    elif name == "t5":
        config = tj.T5Config(
            vocab_size=size, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2,
            relative_attention_num_buckets=8, dropout_rate=0.0, feed_forward_proj="gated-gelu",
            decoder_start_token_id=words.special_id("pad"), **special,
        )  # fmt: skip
    else:
        config = tj.GPT2Config(vocab_size=size, **SIZES, **STILL, **special)
    if case.task == "sequence_classification":
        config = config.replace(**labels, problem_type="single_label_classification")
    tj.from_config(config, head=case.head, key=jax.random.key(7)).save_pretrained(folder)
    words.save(folder)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "table.jsonl").write_text(lines)


def run_config(name: str, out: Path, **settings: Any) -> TrainConfig:
    """The run of a case, as `train.finetune` configures it."""
    case, folder = CASES[name], FOLDER / name
    config = Recipe(case.task, str(folder), out=str(out)).config()
    shared = {
        "data.train": str(folder / "table.jsonl"),
        "data.validation_fraction": 0.0,
        "data.rows": "padded",
        "batch": BATCH,
        "learning_rate": PEAK,
        "optimizer.weight_decay": DECAY,
        "optimizer.schedule": Linear(warmup=WARMUP, from_zero=True),
        "steps": STEPS,
        "epochs": None,
        "clip": CLIP,
        "keep_best": False,
        "evaluation.per_epoch": 0,
        "evaluation.every": 0,
        "evaluation.final_batches": 0,
        "seed": 5,
        "save_every": STEPS,
    }
    if case.adapter is not None:
        shared["adapter"] = case.adapter
    return with_settings(config, {**shared, **case.settings, **settings})
