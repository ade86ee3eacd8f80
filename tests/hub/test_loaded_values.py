"""What was loaded: equal bit for bit to the file, in memory of its own, free to be trained."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from einops import rearrange

import transformers_jax as tj
from transformers_jax.hub import transfer
from transformers_jax.hub.files import Entry, open_checkpoint, save
from transformers_jax.hub.table import Table, rows
from transformers_jax.nn.param import params

SIZES = dict(a=6, b=10, c=4)
LAYOUTS = (
    "a b c -> a b c",  # as it stands
    "a b c -> a c b",
    "a b c -> b a c",
    "a b c -> b c a",
    "a b c -> c b a",
    "(a b) c -> a b c",
    "(a b) c -> c a b",
    "(a b) c -> b c a",
    "a (b c) -> b c a",
    "a (b c) -> c a b",
)
STORED = (np.float32, np.float16, ml_dtypes.bfloat16, np.float64)
ASKED = (jnp.float32, jnp.float16, jnp.bfloat16)
L = 2  # layers, in one parameter


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_and_dtype_is_loaded_bit_for_bit(layout, stored, tmp_path, monkeypatch):
    theirs, ours = layout.split(" -> ")
    rng = np.random.default_rng(0)
    size = tuple(SIZES.values())
    whole = rng.normal(size=size) * 2.0 ** rng.integers(-9, 9, size)
    tensors = {f"l.{i}": rearrange(whole + i, f"a b c -> {theirs}").astype(stored) for i in (0, 1)}
    save({name: Entry.of(tensor) for name, tensor in tensors.items()}, tmp_path)
    table, shape = Table(rows(f"l.{{i}} | w | {layout}")), tuple(SIZES[x] for x in ours.split())
    checkpoint = open_checkpoint(tmp_path)
    expected = np.stack([rearrange(x, layout, **_within(theirs)) for x in tensors.values()])
    for dtype in ASKED:
        targets = {"w": jax.ShapeDtypeStruct((L, *shape), dtype)}
        report = table.check(checkpoint.shapes, {"w": (L, *shape)}, sizes=SIZES)
        for work in (1, 200, transfer.CACHED):  # bytes: many blocks of a tensor, or one
            monkeypatch.setattr(transfer, "CACHED", work)
            loaded = np.asarray(transfer.load(checkpoint, report, targets)["w"])
            assert loaded.tobytes() == expected.astype(dtype).tobytes(), (dtype, work)


def _within(side):
    """The lengths of the letters in the brackets of a side."""
    inside = side[side.find("(") + 1 : side.find(")")].split() if "(" in side else []
    return {letter: SIZES[letter] for letter in inside[1:]}


@pytest.fixture
def saved(tmp_path):
    """A small model's directory, of tensors that keep their layout and of some that change it."""
    config = tj.GPT2Config(
        vocab_size=96, n_positions=16, n_embd=32, n_layer=2, n_head=4,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
    tj.save_pretrained(model, tmp_path)
    return tmp_path


def test_training_with_donation_leaves_the_file_as_it_was(saved):
    file = saved / "model.safetensors"
    before = file.read_bytes()

    def step(params, ids):
        loss = lambda params: apply(params, input_ids=ids, labels=ids).loss
        return jax.tree.map(lambda x, g: x - 0.1 * g, params, jax.grad(loss)(params))

    ids, results = jnp.arange(8)[None], []
    for donated in ((), (0,)):
        apply, values = tj.functional(tj.from_pretrained(saved))
        train = jax.jit(step, donate_argnums=donated)
        for _ in range(3):
            values = train(values, ids)
        results.append(jax.device_get(values))
    assert file.read_bytes() == before
    jax.tree.map(np.testing.assert_array_equal, *results)
    again = jax.tree.leaves(params(tj.from_pretrained(saved)))
    assert any(not np.array_equal(x, y) for x, y in zip(again, jax.tree.leaves(results[0])))


@pytest.mark.parametrize("change", ["overwritten", "truncated", "deleted"])
def test_a_loaded_model_does_not_need_its_file(change, saved):
    file = saved / "model.safetensors"
    model = tj.from_pretrained(saved)
    kept = [np.array(leaf) for leaf in jax.tree.leaves(params(model))]
    if change == "overwritten":  # in place: a mapping would show it
        size = file.stat().st_size
        with open(file, "r+b") as opened:
            opened.write(b"\xff" * size)
    elif change == "truncated":  # reading a mapping would end the process
        with open(file, "r+b") as opened:
            opened.truncate(0)
    else:
        file.unlink()
    for before, leaf in zip(kept, jax.tree.leaves(params(model)), strict=True):
        np.testing.assert_array_equal(leaf, before)
    assert np.isfinite(model(jnp.arange(8)[None]).logits).all()
