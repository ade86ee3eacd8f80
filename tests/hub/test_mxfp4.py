"""Weights in MXFP4: blocks and scales are the numbers that the format says they are."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import transformers_jax as tj
from transformers_jax.hub.files import open_checkpoint
from transformers_jax.hub.mxfp4 import numbers

CASE = Path(__file__).parent.parent / "conformance" / "cases" / "gpt-oss-mxfp4"


def test_each_code_is_its_number_times_the_power_of_two_of_its_block():
    blocks = np.arange(16, dtype=np.uint8)[None] * 16 + np.arange(16, dtype=np.uint8)[::-1]
    values = numbers(blocks[None], np.array([[127]], np.uint8))[0]
    ladder = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    ladder += [-x for x in ladder]
    assert values[1::2].tolist() == ladder  # the upper half of a byte is the second number
    assert values[0::2].tolist() == ladder[::-1]
    halved = numbers(blocks[None], np.array([[126]], np.uint8))[0]
    assert np.array_equal(2 * halved, values)
    assert np.isnan(numbers(blocks[None], np.array([[255]], np.uint8))).all()


def test_blocks_of_a_row_follow_one_another_and_rows_are_read_alone():
    stored, whole = load_file(CASE / "model.safetensors"), open_checkpoint(CASE)
    name = "model.layers.0.mlp.experts.down_proj"
    blocks, scales = stored[f"{name}_blocks"], stored[f"{name}_scales"]
    assert whole.tensors[name].shape == (3, 64, 32)
    assert whole.tensors[name].dtype == jnp.bfloat16
    value = whole.read(name)
    e, row, column = 1, 5, 37  # the sixth number of the second block: the upper half of a byte
    code = int(blocks[e, row, 1, 2]) >> 4
    expected = [0, 0.5, 1, 1.5, 2, 3, 4, 6][code & 7] * (-1) ** (code >> 3)
    assert value[e, column, row] == expected * 2.0 ** (int(scales[e, row, 1]) - 127)
    assert np.array_equal(whole.read(name, 1, 2), value[1:2])
    assert f"{name}_blocks" not in whole.tensors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, n: t.pop(f"{n}_scales"), "half of a tensor in MXFP4, whose other half"),
        (lambda t, n: t.pop(f"{n}_blocks"), "half of a tensor in MXFP4, whose other half"),
        (lambda t, n: t.update({f"{n}_scales": t[f"{n}_scales"][:, :3]}), r"expected \[E F N 16\]"),
        (lambda t, n: t[f"{n}_scales"].fill(255), "NaN or infinity in .*down_proj"),
    ],
)
def test_files_that_are_damaged_are_refused_by_name(change, message, tmp_path):
    tensors, name = load_file(CASE / "model.safetensors"), "model.layers.0.mlp.experts.down_proj"
    change(tensors, name)
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((CASE / "config.json").read_text())
    with pytest.raises(ValueError, match=message):
        tj.from_pretrained(tmp_path)


def test_other_ways_of_quantising_are_refused_by_name():
    values = {"model_type": "gpt_oss", "quantization_config": {"quant_method": "awq"}}
    with pytest.raises(ValueError, match=r"quantization_config=.* is not implemented for gpt_oss"):
        tj.GptOssConfig.from_dict(values)
