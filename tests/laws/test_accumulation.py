"""Micro-batches and devices change neither loss nor gradient, of any head and any objective."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import transformers_jax as tj
from tests.laws.objective_cases import CASES, LENGTHS, batch, gradient, heads

TOLERANCE = 1e-6  # of the gradient's norm, and of each figure: float32 sums in another order
# CLIP multiplies its logits by 1 / 0.07: the rounding of unit vectors is 14 times as large in them.
# The others are means over pixels, thousands of float32 terms.
ROUGHER = {
    "image_text": 3e-6,
    "supervised-semantic_segmentation": 5e-6,
    "supervised-image_autoencoding": 5e-6,
}

ON_A_MESH = """
    import json, sys
    import numpy as np
    from tests.laws.objective_cases import gradient
    from transformers_jax.shard import make_mesh

    mesh = make_mesh({"data": 4, "fsdp": 2})
    results, vectors = {}, {}
    for name in sys.argv[2:]:
        results[name], vectors[name] = gradient(name, 2, mesh)
    np.savez(sys.argv[1], **vectors)
    print(json.dumps(results))
"""


# Devices add up the same sums for all heads: each objective, and heads whose counts are of a kind.
MESHED = [name for name in CASES if not name.startswith("supervised") and "-" not in name]
MESHED += ["supervised-question_answering", "supervised-regression", "supervised-multiple_choice"]


QUICK = [name if name in MESHED else pytest.param(name, marks=pytest.mark.slow) for name in CASES]


@functools.cache
def whole(name):
    return gradient(name, 1)


def same(name, actual, expected):
    tolerance = ROUGHER.get(name, TOLERANCE)
    (figures, grads), (right, whole) = actual, expected
    assert figures.keys() == right.keys()
    for figure, value in right.items():
        assert abs(figures[figure] - value) <= tolerance * max(1, abs(value)), figure
    assert np.linalg.norm(grads - whole) <= tolerance * np.linalg.norm(whole)
    assert np.linalg.norm(whole) > 1e-4


@pytest.mark.parametrize("name", QUICK)
def test_micro_batches_give_the_gradient_of_the_whole_batch(name):
    same(name, gradient(name, 4), whole(name))


def refused(name, accumulate, inputs):
    """The error of a step about a batch; nothing is computed."""
    model, optimizer = CASES[name].model, optax.sgd(0.1)
    state = jax.eval_shape(lambda key: tj.init_state(model, optimizer, key), jax.random.key(0))
    step = tj.make_step(model, CASES[name].objective, optimizer, accumulate=accumulate)
    with pytest.raises(ValueError) as error:  # noqa: PT011, sentences are compared by the test
        step(state, inputs)
    return str(error.value)


@pytest.mark.parametrize("name", CASES)
def test_a_single_row_is_never_broadcast_to_every_micro_batch(name):
    """With as many micro-batches as rows each would have one row, and would be well-formed."""
    whole, rows = batch(CASES[name]), len(LENGTHS)
    for path, _ in jax.tree_util.tree_flatten_with_path(whole)[0]:
        cut = lambda p, x, path=path: x[:1] if p == path else x
        wrong = jax.tree_util.tree_map_with_path(cut, whole)
        error = refused(name, rows, jax.tree.map(jnp.asarray, wrong))
        others = ("for 1 rows of input", "source has 16 rows and the decoder 1", "expected (1, 4)")
        others += ("a batch of 1 rows cannot be cut",)  # where it is all that there is
        assert any(words in error for words in (path[-1].key, *others)), path
    if name.startswith("contrastive"):  # each part is well-formed, and they do not fit together
        for part in whole:
            wrong = {**whole, part: jax.tree.map(lambda x: x[:1], whole[part])}
            error = refused(name, rows, jax.tree.map(jnp.asarray, wrong))
            assert f"batch['{part}']['attention_mask'] has 1 rows, not the 16 of batch['" in error
            assert "expected two or more of one shape" in refused(name, 1, wrong)


@pytest.fixture(scope="module")
def on_a_mesh(on_eight_devices, tmp_path_factory):
    file = tmp_path_factory.mktemp("mesh") / "gradients.npz"
    done = on_eight_devices(ON_A_MESH, file, *MESHED)
    return json.loads(done.stdout.splitlines()[-1]), np.load(file)


@pytest.mark.parametrize("name", MESHED)
def test_two_micro_batches_on_eight_devices_give_the_gradient_of_one(name, on_a_mesh):
    figures, vectors = on_a_mesh
    same(name, (figures[name], vectors[name]), whole(name))


def test_every_head_is_among_the_cases():
    assert {case.head for case in CASES.values()} >= {
        *heads(),
        "embedding",
        "replaced_token_detection",
    }
    assert len(LENGTHS) % 16 == 0  # two micro-batches of eight devices
    assert len(set(LENGTHS)) > 3


def by_rows(name):
    """The control: each micro-batch counts by its rows."""

    def weighted(model, batch, key):
        loss, _ = CASES[name].objective(model, batch, None)
        rows = np.float32(len(jax.tree.leaves(batch)[0]))
        return loss, {"loss": (loss * rows, jax.numpy.float32(rows))}

    return weighted


@pytest.mark.parametrize("name", ["supervised-question_answering", "masked_lm", "contrastive"])
def test_weighting_by_rows_gives_another_gradient(name):
    _, grads = gradient(name, 4, objective=by_rows(name))
    assert np.linalg.norm(grads - whole(name)[1]) > 1e-2 * np.linalg.norm(whole(name)[1])
