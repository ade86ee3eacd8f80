"""DeBERTa: files of the hub, switches that are refused, and the neighbours a convolution reads."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import transformers_jax as tj
from transformers_jax import FULL, Same
from transformers_jax.graph import sequence
from transformers_jax.nn.convolution import Convolution, ConvolutionSpec
from transformers_jax.nn.param import bind, params

CASES = Path(__file__).parent.parent / "conformance" / "cases"


# ---------------------------------------------------------------- files of the hub


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A v3 checkpoint as it is published: with what its two pretrained models left behind."""
    folder = tmp_path_factory.mktemp("hub")
    values = json.loads((CASES / "deberta-v2-mlm" / "config.json").read_text())
    drop = ("architectures", "legacy", "pooler_hidden_size", "dtype", "transformers_version")
    values = {key: value for key, value in values.items() if key not in drop}
    values |= {"pos_att_type": "p2c|c2p", "padding_idx": 0, "attention_head_size": 6}
    (folder / "config.json").write_text(json.dumps(values))
    weights = load_file(CASES / "deberta-v2-mlm" / "model.safetensors")
    head = {name: x for name, x in weights.items() if name.startswith("cls.")}
    weights = {name: x for name, x in weights.items() if name not in head}
    for ours, theirs in (
        ("transform.", "lm_predictions.lm_head."),
        ("", "lm_predictions.lm_head."),
    ):
        for name in [name for name in head if f"predictions.{ours}" in name]:
            weights[theirs + name.split(f"predictions.{ours}")[1]] = head.pop(name)
    weights |= {
        "mask_predictions.dense.weight": np.zeros((24, 24), np.float32),
        "mask_predictions.LayerNorm.bias": np.zeros(24, np.float32),
        "mask_predictions.classifier.weight": np.zeros((1, 24), np.float32),
        "deberta.embeddings.position_embeddings.weight": np.zeros((40, 24), np.float32),
        "deberta.embeddings.word_embeddings._weight": np.zeros((96, 24), np.float32),
        "deberta.embeddings.position_ids": np.zeros((1, 40), np.int64),
    }
    save_file(weights, folder / "model.safetensors")
    return folder


def test_the_released_masked_lm_head_is_read(hub):
    released = tj.from_pretrained(hub, head="masked_lm", legacy=False, return_report=True)
    assert not released.initialised
    assert "mask_predictions.dense.weight" in released.report.left_out
    # on a tied table the two kinds of head are one function
    case = tj.from_pretrained(CASES / "deberta-v2-mlm")
    same = jax.tree.map(np.array_equal, params(released.model), params(case))
    assert jax.tree.all(same)


def test_a_file_of_the_hub_is_a_backbone_for_any_head(hub):
    plain = tj.from_pretrained(hub, return_report=True)
    assert not plain.initialised
    assert "lm_predictions.lm_head.bias" in plain.report.left_out
    with pytest.raises(
        ValueError, match=r"no weights for head\.classify\S+, head\.inner.* give key="
    ):
        tj.from_pretrained(hub, head="sequence_classification")
    with pytest.raises(ValueError, match="has no weights for head"):  # the kind it does not hold
        tj.from_pretrained(hub, head="masked_lm")


def test_type_ids_are_taken_where_there_are_no_types(hub):
    model, ids = tj.from_pretrained(hub), np.arange(1, 12)[None]
    model.check({"input_ids": ids, "token_type_ids": np.ones_like(ids)})
    assert model.embed.type is None
    with pytest.raises(ValueError, match="token_type_ids has shape"):  # the control
        model.check({"input_ids": ids, "token_type_ids": np.ones((1, 3), int)})


# ---------------------------------------------------------------- switches


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"attention_head_size": 5}, r"attention_head_size \(5\) must be 64"),
        ({"pooler_hidden_size": 7}, r"pooler_hidden_size \(7\) must be 1536"),
        ({"talking_head": True}, "talking_head=True is not implemented"),
    ],
)
def test_invalid_switches_are_refused_by_name(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        tj.DebertaV2Config.from_dict(changes)


def test_narrow_embeddings_are_refused_only_with_a_masked_lm_head():
    config = tj.DebertaV2Config(legacy=False, embedding_size=8)
    with pytest.raises(ValueError, match=r"embedding_size \(8\) must be hidden_size \(1536\)"):
        config.head("masked_lm")
    assert config.head("token_classification") is not None


def test_a_table_too_small_for_its_buckets_is_refused():
    relative = dict(relative_attention=True, position_buckets=64, max_relative_positions=20)
    with pytest.raises(ValueError, match=r"buckets \(64\) .* the farthest position \(20\)"):
        tj.DebertaV2Config(**relative).spec()
    with pytest.raises(ValueError, match=r"kernel \(4\) must be odd"):
        tj.DebertaV2Config(conv_kernel_size=4).spec()
    with pytest.raises(ValueError, match=r"width \(1536\) must be a multiple of .* \(5\)"):
        Convolution(ConvolutionSpec(3, groups=5), 1536)
    with pytest.raises(ValueError, match="unknown key 'conv_kernel_size'"):
        tj.DebertaConfig.from_dict({"conv_kernel_size": 3})


# ---------------------------------------------------------------- the convolution


def test_a_convolution_reads_only_the_neighbours_that_its_mask_allows():
    rng, documents = np.random.default_rng(0), np.array([[0, 0, 0, 1, 1, 1, 1]], np.int32)
    x = rng.normal(size=(2, 7, 6)).astype(np.float32)
    valid = jnp.array([[True] * 7, [True] * 5 + [False] * 2])

    def convolved(x, mask, nodes):
        module = Convolution(ConvolutionSpec(5, groups=2, mask=mask), 6)
        draw = np.random.default_rng(1)
        values = jax.tree.map(lambda leaf: draw.normal(size=leaf.shape), params(module))
        y = bind(module, values)(jnp.asarray(x), nodes)
        return np.asarray(y), values

    y, values = convolved(x, FULL, sequence(7, valid=valid))
    expected = np.tile(values["bias"], (2, 7, 1))
    for b, t, n in np.ndindex(2, 7, 5):
        s = t + n - 2
        if 0 <= s < 7 and valid[b, s]:
            for g in range(2):
                part = slice(3 * g, 3 * g + 3)
                expected[b, t, part] += x[b, s, part] @ values["weight"][n, g]
    expected = np.where(valid[..., None], expected, 0)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)

    packed, _ = convolved(x, Same("document"), sequence(7, tags={"document": documents}))
    first, _ = convolved(x[:, :3], FULL, sequence(3))
    second, _ = convolved(x[:, 3:], FULL, sequence(4))
    np.testing.assert_allclose(packed, np.concatenate([first, second], 1), rtol=1e-5, atol=1e-5)
    leaking, _ = convolved(x, FULL, sequence(7))
    assert np.abs(leaking - packed).max() > 0.1  # the control
