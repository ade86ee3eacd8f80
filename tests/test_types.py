"""What a type checker and an editor see of the public names, in a file of a user's own."""

import os
import subprocess
import sys
from pathlib import Path

import jedi

import transformers_jax as tj

ROOT = Path(__file__).parent.parent
STRICT = ("--strict", "--follow-imports=silent", "--no-incremental", "--config-file=")

USER = """
from typing import Any, assert_type

import jax
import numpy as np
import optax  # type: ignore[import-untyped]
import transformers_jax as tj
from transformers_jax import BertConfig, make_step
from transformers_jax.data.tokenizer import Tokenizer
from transformers_jax.pretrained import Loaded
from transformers_jax.training.step import Step, TrainStep

config = BertConfig(hidden_size=24, num_hidden_layers=1)
assert_type(config, tj.BertConfig)
assert_type(config.hidden_size, int)
assert_type(tj.BertConfig.from_pretrained("bert"), tj.BertConfig)
assert_type(config.replace(num_labels=3), tj.BertConfig)

model = tj.from_config(config, head="masked_lm", key=jax.random.key(0))
assert_type(model, tj.Model)
assert_type(tj.from_pretrained("bert", dtype="bfloat16"), tj.Model)
assert_type(tj.from_pretrained("bert", return_report=True), Loaded)
assert_type(tj.AutoModelForMaskedLM.from_pretrained("bert"), tj.Model)

ids = np.ones((1, 3), int)
out = model(input_ids=ids, attention_mask=ids)
assert_type(out, tj.Output)
assert_type(out.logits, jax.Array)
assert_type(out.hidden_states, tuple[jax.Array, ...])
assert_type(tj.generate(model, [[1, 2]], max_new_tokens=3), jax.Array)
assert_type(tj.generate(model, ids, return_dict_in_generate=True), tj.Output)
assert_type(model.generate(ids), jax.Array)
assert_type(tj.score(model, ids), tj.Output)

apply, params = tj.functional(model)
assert_type(apply(params, input_ids=ids), tj.Output)
assert_type(tj.bind(model, params), tj.Model)

step = make_step(model, tj.supervised, optax.adamw(1e-4))
assert_type(step, TrainStep)
called: Step = step
state = tj.init_state(model, optax.adamw(1e-4), jax.random.key(1))
state, metrics = step(state, {"input_ids": ids, "labels": ids})
assert_type(state, tj.TrainState)
assert_type(metrics, dict[str, jax.Array])

assert_type(tj.load_tokenizer("bert"), Tokenizer)
assert_type(tj.CAUSAL & tj.Same("document"), tj.Mask)
tj.save_pretrained(model, "out")
"""

MISTAKES = """
tj.from_pretraned  # type: ignore[attr-defined]
tj.BertConfig(hiden_size=3)  # type: ignore[call-arg]
tj.BertConfig(hidden_size="24")  # type: ignore[arg-type]
model.confg  # type: ignore[attr-defined]
out.logit  # type: ignore[attr-defined]
tj.make_step(model, tj.supervised, optax.adamw(1e-4), acumulate=2)  # type: ignore[call-arg]
tj.init_state(model, optax.adamw(1e-4))  # type: ignore[call-arg]
"""


def checked(folder, text):
    """What mypy says of a file in a folder of its own."""
    (folder / "user.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *STRICT, "user.py"],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_a_strict_type_checker_sees_real_types_and_finds_misspelt_names(tmp_path):
    """An ignored error that is none is an error to --strict: every mistake is found. The last line
    shows that a wrong type is one."""
    output = checked(tmp_path, USER + MISTAKES + "assert_type(out.logits, int)\n")
    errors = [line for line in output.splitlines() if ": error:" in line]
    assert len(errors) == 1, output
    assert 'Expression is of type "Array", not "int"' in errors[0]


def completions(code):
    return [name.name for name in jedi.Script("import transformers_jax as tj\n" + code).complete()]


def test_an_editor_completes_the_public_names_only():
    rooms = {path.stem for path in (ROOT / "transformers_jax").iterdir()}
    offered = {name for name in completions("tj.") if not name.startswith("_")}
    assert offered - rooms == set(tj.__all__) - rooms
    assert dir(tj) == sorted(tj.__all__)


def test_an_editor_completes_arguments_and_attributes():
    assert "hidden_size=" in completions("tj.BertConfig(hid")
    assert "compute_dtype=" in completions("tj.from_pretrained('bert', comp")
    assert "config" in completions("tj.from_config({}).con")
    assert "last_hidden_state" in completions("tj.from_config({})(1).last")
