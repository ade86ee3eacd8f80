"""Decoders with experts: configs of the hub, layers that are left out, and the loss of routers."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import transformers_jax as tj

CASES = Path(__file__).parent.parent / "conformance" / "cases"
DEEPSEEK = dict(
    model_type="deepseek_v3",
    aux_loss_alpha=0.001,
    ep_size=1,
    moe_layer_freq=1,
    num_nextn_predict_layers=1,
    rope_scaling={
        **dict(type="yarn", factor=40, beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=1.0),
        "original_max_position_embeddings": 4096,
    },
    rope_theta=10000,
    scoring_func="sigmoid",
    seq_aux=True,
    topk_method="noaux_tc",
    torch_dtype="bfloat16",
)
GPT_OSS = dict(
    model_type="gpt_oss",
    experts_per_token=4,
    initial_context_length=4096,
    num_experts_per_tok=4,
    quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]},
    swiglu_limit=7.0,
)


def test_configs_of_the_hub_are_read():
    config = tj.DeepseekV3Config.from_dict(DEEPSEEK)
    attend = config.spec().blocks[0][0].op
    factor = 0.1 * np.log(40) + 1
    np.testing.assert_allclose(attend.scale, 192**-0.5 * factor**2, rtol=1e-12)
    assert attend.rotary.interleaved
    assert [block[1].name for block in config.spec().blocks[:4]] == ["ffn"] * 3 + ["experts"]
    assert tj.GptOssConfig.from_dict(GPT_OSS).num_experts_per_tok == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {**DEEPSEEK, "quantization_config": {"quant_method": "fp8"}},
            "quantization_config=.*only",
        ),
        ({**DEEPSEEK, "scoring_func": "softmax"}, "scoring_func='softmax' is not implemented"),
        ({**DEEPSEEK, "topk_method": "greedy"}, "topk_method='greedy' is not implemented"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(values, message):
    with pytest.raises(ValueError, match=message):
        tj.DeepseekV3Config.from_dict(values)


def test_groups_that_cannot_serve_a_token_are_refused():
    config = tj.DeepseekV3Config.from_dict({**DEEPSEEK, "topk_group": 9})
    with pytest.raises(ValueError, match=r"kept \(9\) lie between 1 and 8"):
        config.spec()


def test_layers_behind_the_last_are_left_out(tmp_path):
    shutil.copytree(CASES / "deepseek-v3", tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.layers.3.eh_proj.weight"] = np.zeros((24, 48), np.float32)
    save_file(tensors, tmp_path / "model.safetensors")
    loaded = tj.from_pretrained(tmp_path, return_report=True)
    assert loaded.report.ignored == ("model.layers.3.eh_proj.weight",)
    tensors["model.layers.2.eh_proj.weight"] = tensors["model.layers.3.eh_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"unexpected \(1\)"):  # the control
        tj.from_pretrained(tmp_path)


def test_the_loss_of_routers_is_counted_where_a_call_or_the_config_asks():
    ids, labels = np.arange(10, 22).reshape(2, 6), np.arange(11, 23).reshape(2, 6)
    asked = tj.from_pretrained(CASES / "mixtral-router")
    always = tj.from_pretrained(CASES / "mixtral-router", output_router_logits=True)
    plain, with_routers = asked(ids, labels=labels), always(ids, labels=labels)
    assert "aux_loss" not in plain
    assert [x.shape for x in with_routers.router_logits] == [(12, 4)] * 2
    expected = plain.loss + 0.1 * with_routers.aux_loss
    np.testing.assert_allclose(with_routers.loss, expected, rtol=1e-6)
    said = asked(ids, labels=labels, output_router_logits=True)
    np.testing.assert_allclose(said.loss, with_routers.loss, rtol=1e-6)
    silent = always(ids, labels=labels, output_router_logits=False)
    np.testing.assert_allclose(silent.loss, plain.loss, rtol=1e-6)


@pytest.mark.slow
def test_training_adds_the_loss_of_routers_where_the_config_says_so():
    batch = {"input_ids": np.arange(10, 24).reshape(2, 7)}
    losses = {}
    for says in (False, True):
        model = tj.from_pretrained(CASES / "mixtral-router", output_router_logits=says)
        losses[says], metrics = tj.causal_lm(model, batch, None)
        assert ("cross_entropy" in metrics) == says
    out = model(batch["input_ids"][:, :-1])
    np.testing.assert_allclose(losses[True], losses[False] + 0.1 * out.aux_loss, rtol=1e-6)
