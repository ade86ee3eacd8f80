"""What is special about BLOOM, Falcon, GPT-J, GPT-Neo, GPT-NeoX, CodeGen, Phi and XGLM."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import transformers_jax as tj
from tests.laws.families.conftest import CONFIGS
from transformers_jax import sequence
from transformers_jax.nn.param import flatten, unflatten
from transformers_jax.nn.position import AlibiRule
from transformers_jax.nn.sinusoidal import Sinusoids, sinusoids
from transformers_jax.spec import Alibi

T, HEADS = 9, 6


def bias(alibi, at):
    """Float[H T T] of tokens at these positions."""
    nodes = sequence(T, tags={"position": np.asarray(at, np.int32)[None]})
    rule = jax.jit(lambda q: AlibiRule(alibi)({}, q, None, nodes, nodes, {})[0])
    return np.asarray(rule(jnp.zeros((1, T, HEADS, 4))))


def test_a_signed_bias_is_the_usual_one_of_earlier_keys():
    usual, signed = (bias(Alibi(signed=how), np.arange(T)) for how in (False, True))
    past = np.tril(np.ones((T, T), bool))
    np.testing.assert_array_equal(signed[:, past], usual[:, past])
    np.testing.assert_array_equal(signed[:, ~past], -usual[:, ~past])  # the control


def test_a_rounded_bias_is_made_of_products_in_bfloat16():
    at = np.arange(1000, 1000 + T)
    slopes = AlibiRule.slopes(HEADS).astype(ml_dtypes.bfloat16)
    product = (slopes[:, None] * at.astype(ml_dtypes.bfloat16)).astype(np.float32)
    expected = 0.5 * (product[:, None, :] - product[:, :, None])
    rounded = Alibi(signed=True, scale=0.5, rounded=True)
    np.testing.assert_array_equal(bias(rounded, at), expected)
    exact = bias(Alibi(signed=True, scale=0.5), at)
    assert np.abs(exact - expected).max() > 0.5  # the control: what rounding loses


def test_only_files_of_release_5_have_falcons_bias_twice():
    values = {"model_type": "falcon", "alibi": True}
    of = lambda **more: tj.AutoConfig.from_pretrained({**values, **more}).alibi_twice
    assert not of(transformers_version="4.27.4")
    assert not of()
    assert of(transformers_version="5.23.0")
    assert not of(transformers_version="5.23.0", alibi_twice=False)  # the switch
    twice = tj.FalconConfig(alibi=True, alibi_twice=True)
    assert tj.FalconConfig.from_dict(twice.to_dict()) == twice
    scales = [c.spec().blocks[0][0].op.score.scale for c in (twice, tj.FalconConfig(alibi=True))]
    assert scales[0] == 2 * scales[1] == 2 * 64**-0.5


def test_the_sinusoid_of_the_padding_is_zero():
    form = Sinusoids(halves=True, closed=True, zero=3)
    vectors = np.asarray(sinusoids(form, 8, jnp.arange(6)[None]))[0]
    assert (vectors[3] == 0).all()
    assert (np.abs(vectors[[0, 1, 2, 4, 5]]).max(-1) > 0).all()
    table = Sinusoids(halves=True, closed=True, rows=6, zero=3).table(8)
    np.testing.assert_allclose(table, vectors, atol=1e-6)


def test_older_keys_of_configs_are_read():
    neox = tj.GPTNeoXConfig.from_dict({"rotary_pct": 0.5, "rotary_emb_base": 500})
    assert dict(neox.rope_parameters) == {
        "rope_type": "default",
        "rope_theta": 500,
        "partial_rotary_factor": 0.5,
    }
    assert tj.GPTNeoXConfig.from_dict({}) == tj.GPTNeoXConfig()
    assert tj.PhiConfig.from_dict({"rope_theta": 1e4}) == tj.PhiConfig()
    assert tj.BloomConfig.from_dict({"n_embed": 24}).hidden_size == 24
    assert tj.FalconConfig.from_dict({"n_embed": 24}).hidden_size == 24


@pytest.mark.parametrize(
    ("config", "changes", "reason", "advice"),
    [
        ("bloom", dict(slow_but_exact=True, pretraining_tp=2), "slow_but_exact with",
         dict(slow_but_exact=False)),
        ("codegen", dict(n_head=5), "must be a multiple of 4", dict(n_head=4)),
        ("falcon", dict(parallel_attn=False), "implemented: parallel_attn=False with",
         dict(new_decoder_architecture=False)),
        ("falcon", dict(num_ln_in_parallel_attn=3), r"num_ln_in_parallel_attn=3 \(1, or 2",
         dict(num_ln_in_parallel_attn=1)),
        ("falcon", dict(new_decoder_architecture=False, multi_query=False),
         "num_kv_heads=2 without", dict(new_decoder_architecture=True)),
        ("gpt_neo", dict(num_layers=3), "says what 2 layers are, and there are 3",
         dict(attention_types=((("local", "global", "local"), 1),), attention_layers=())),
        ("gpt_neo", dict(attention_layers=("global", "local")), "and no attention_layers",
         dict(attention_layers=())),
        ("gptj", dict(rotary_dim=6), "n_embd / n_head = 5; lower rotary_dim", dict(rotary_dim=4)),
    ],
)  # fmt: skip
def test_settings_that_have_no_model_are_refused_with_a_way_out(config, changes, reason, advice):
    with pytest.raises(ValueError, match=reason):
        CONFIGS[config]().replace(**changes).spec()
    CONFIGS[config]().replace(**(changes | advice)).spec()


SUMMARY = dict(
    summary_activation=None,
    summary_first_dropout=0.1,
    summary_proj_to_labels=True,
    summary_type="cls_index",
    summary_use_proj=True,
)
TEXTS = {"text-generation": {"do_sample": True, "max_length": 50}}
NAMED = dict(gradient_checkpointing=False, task_specific_params=TEXTS, use_cache=True)
OF_GPT_J = dict(
    **SUMMARY, **NAMED, n_ctx=2048, n_inner=None, scale_attn_weights=True, torch_dtype="float16"
)
RELEASED = {  # what files of the hub say beside what they all say
    "bloom": dict(
        attention_softmax_in_fp32=True,
        bias_dropout_fusion=True,
        masked_softmax_fusion=True,
        n_embed=20,
        n_inner=None,
        offset_alibi=100,
        pretraining_tp=4,
        seq_length=2048,
        skip_bias_add=True,
        skip_bias_add_qkv=False,
        slow_but_exact=False,
        unk_token_id=0,
    ),
    "codegen": OF_GPT_J,
    "falcon": dict(
        apply_residual_connection_post_layernorm=False,
        auto_map={"AutoConfig": "configuration_falcon.FalconConfig"},
        ff_factor=4,
        rope_scaling=None,
        rope_theta=500042.0,
        num_ln_in_parallel_attn=1,
    ),
    "gpt_neo": dict(**SUMMARY, **NAMED, attention_layers=["local", "global"]),
    "gpt_neox": dict(
        attention_probs_dropout_prob=0,
        hidden_dropout_prob=0,
        hidden_act="gelu_fast",
        rotary_emb_base=10000,
        rotary_pct=0.25,
    ),
    "gptj": dict(**OF_GPT_J, rotary=True, tokenizer_class="GPT2Tokenizer"),
    "openai_gpt": dict(**SUMMARY, n_ctx=512, n_special=0, predict_special_tokens=True),
    "phi": dict(partial_rotary_factor=0.5, rope_scaling=None, rope_theta=10000.0),
    "xglm": dict(gradient_checkpointing=False, torch_dtype="float16"),
}


@pytest.mark.parametrize("family", RELEASED)
def test_files_as_they_were_released_are_read(family):
    own = CONFIGS[family]()
    values = {name: x for name, x in own.to_dict().items() if name != "rope_parameters"}
    config = tj.AutoConfig.from_pretrained({**values, **RELEASED[family]})
    assert type(config) is type(own)
    assert len(config.spec().blocks) == 2
    assert tj.AutoConfig.from_pretrained(config.to_dict()) == config


def test_candidates_are_read_at_the_tokens_that_a_call_names():
    config = CONFIGS["openai_gpt"]()
    model = tj.from_config(config, head="double_heads", key=jax.random.key(0), unroll=False)
    ids = np.random.default_rng(0).integers(3, 53, (2, 3, 7))
    call = lambda at: np.asarray(model(input_ids=ids, mc_token_ids=at).mc_logits)
    last = np.full((2, 3), 6)
    np.testing.assert_array_equal(call(last), model(input_ids=ids).mc_logits)
    other = last.copy()
    other[1, 2] = 3
    moved = call(other) != call(last)
    assert moved[1, 2]  # the control
    assert moved.sum() == 1
    for wrong, reason in (
        (last + 1, r"mc_token_ids\[0, 0\] is 7, outside the tokens of a row \[0, 7\)"),
        (last[:1], r"mc_token_ids has shape \(1, 3\), but the candidates of .* \(2, 3\)"),
    ):
        with pytest.raises(ValueError, match=reason):
            call(wrong)
    with pytest.raises(ValueError, match="afn='mish' is not implemented; known are gelu, relu, s"):
        config.replace(afn="mish").spec()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "target"), [("falcon", "query_key_value"), ("codegen", "qkv_proj")]
)
def test_an_adapter_of_a_tensor_of_groups_of_heads_is_saved_and_loaded(family, target, tmp_path):
    rng = np.random.default_rng(0)
    ids = rng.integers(3, 53, (2, 7))
    base = tj.from_config(CONFIGS[family](), head="causal_lm", key=jax.random.key(0))
    model = tj.adapt(base, tj.LoRA(rank=3, targets=(target,)), key=jax.random.key(1))
    trained = flatten(tj.partition(model)[0])
    moved = {path: 0.3 * rng.normal(size=leaf.shape) for path, leaf in trained.items()}
    moved = {path: jnp.asarray(x, trained[path].dtype) for path, x in moved.items()}
    model = tj.bind(model, unflatten(moved))
    logits = model(input_ids=ids).logits
    assert np.abs(logits - base(input_ids=ids).logits).max() > 1e-2
    tj.save_adapter(model, tmp_path / "adapter")
    loaded = tj.load_adapter(base, tmp_path / "adapter")
    np.testing.assert_allclose(loaded(input_ids=ids).logits, logits, atol=2e-5)
    merged = tj.merge_adapter(model)
    np.testing.assert_allclose(merged(input_ids=ids).logits, logits, atol=2e-4)
    merged.save_pretrained(tmp_path / "merged")
    again = tj.from_pretrained(tmp_path / "merged")
    np.testing.assert_array_equal(again(input_ids=ids).logits, merged(input_ids=ids).logits)
