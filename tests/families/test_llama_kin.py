"""What is special about the decoders built like Llama: types of layers, windows, rotations."""

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax import CAUSAL, FULL, Near
from transformers_jax.models import config_class

EVERY, WINDOW = "full_attention", "sliding_attention"
SMALL = dict(
    vocab_size=40,
    hidden_size=16,
    intermediate_size=20,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=4,
    pad_token_id=0,
)
WINDOWED = ("qwen2", "qwen3", "gemma2", "gemma3_text", "smollm3")


def read(family, **values):
    return config_class({"model_type": family}).from_dict({**SMALL, **values})


def masks(config):
    return [block[0].op.mask for block in config.spec().blocks]


def test_a_window_holds_the_token_itself():
    four = CAUSAL & Near(left=3)
    assert masks(read("mistral", sliding_window=4)) == [four] * 3
    assert masks(read("mistral", sliding_window=None)) == [CAUSAL] * 3


@pytest.mark.parametrize("family", WINDOWED)
def test_layers_have_windows_by_their_types(family):
    types = [WINDOW, EVERY, WINDOW]
    config = read(family, sliding_window=4, layer_types=types)
    four = CAUSAL & Near(left=3)
    assert masks(config) == [four, CAUSAL, four]
    assert config_class({"model_type": family}).from_dict(config.to_dict()) == config


@pytest.mark.parametrize("family", WINDOWED)
def test_types_and_windows_that_do_not_fit_are_refused_by_name(family):
    with pytest.raises(ValueError, match="for each of the 3 layers"):
        read(family, sliding_window=4, layer_types=[EVERY])
    with pytest.raises(ValueError, match="expected 'full_attention' or 'sliding_attention'"):
        read(family, sliding_window=4, layer_types=["chunked_attention"] * 3)
    for window in (None, 0):
        with pytest.raises(ValueError, match=f"sliding_window={window}, .* at least 1"):
            read(family, sliding_window=window, layer_types=[WINDOW] * 3)


def test_what_types_mean_where_a_file_lists_none():
    qwen = dict(use_sliding_window=True, sliding_window=4)
    assert read("qwen2", **qwen, max_window_layers=1).types == (EVERY, WINDOW, WINDOW)
    assert read("qwen2", sliding_window=4, max_window_layers=0).types == (EVERY,) * 3
    assert read("gemma2").types == (WINDOW, EVERY, WINDOW)
    assert read("gemma3_text", sliding_window_pattern=3).types == (WINDOW, WINDOW, EVERY)
    assert read("gemma3_text").types == (WINDOW,) * 3
    assert read("smollm3", **qwen, no_rope_layer_interval=2).types == (EVERY, WINDOW, EVERY)


def test_layers_of_smollm3_turn_or_do_not():
    turns = lambda config: [block[0].op.rotary is not None for block in config.spec().blocks]
    assert turns(read("smollm3", no_rope_layer_interval=2)) == [True, False, True]
    assert turns(read("smollm3", no_rope_layers=[0, 1, 1])) == [False, True, True]
    for wrong in ([1], [1, 2, 0]):
        with pytest.raises(ValueError, match=r"no_rope_layers .* for each of the 3 layers"):
            read("smollm3", no_rope_layers=wrong)


def test_layers_of_gemma_3_rotate_by_their_types():
    older = dict(rope_theta=1e5, rope_local_base_freq=1e3)
    older["rope_scaling"] = {"rope_type": "linear", "factor": 8.0}
    config = read("gemma3_text", **older, layer_types=[WINDOW, EVERY, EVERY])
    near, far, _ = (block[0].op.rotary for block in config.spec().blocks)
    assert (near.base, near.scaling) == (1e3, None)
    assert (far.base, far.scaling.factor) == (1e5, 8.0)
    with pytest.raises(ValueError, match=r"rope_parameters has rope_theta; expected settings for"):
        read("gemma3_text", rope_parameters={"rope_theta": 1e4})


def test_gemma_3_may_attend_to_both_sides_and_gemma_2_may_not():
    both = read(
        "gemma3_text",
        use_bidirectional_attention=True,
        sliding_window=5,
        layer_types=[WINDOW, EVERY, EVERY],
    )
    assert masks(both) == [Near(2, 2), FULL, FULL]
    gemma2 = read("gemma2", sliding_window=4, use_bidirectional_attention=True)
    make = lambda **options: tj.from_config(gemma2, key=jax.random.key(0), **options)
    with pytest.raises(ValueError, match=r"pass mask=tj\.OWN for those, or mask=tj\.FULL"):
        make()
    masks_of = lambda model: [block[0].op.mask for block in model.stack.spec.blocks]
    assert masks_of(make(mask=tj.OWN)) == masks(read("gemma2", sliding_window=4))
    assert masks_of(make(mask=tj.FULL)) == [FULL] * 3


def test_logits_of_granite_are_not_divided_by_zero():
    with pytest.raises(ValueError, match="logits_scaling=0"):
        read("granite", logits_scaling=0.0)


@pytest.mark.slow
def test_text_behind_the_window_is_generated_as_the_forward_pass_scores_it():
    config = read("mistral", sliding_window=1, max_position_embeddings=32)
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
    ids = np.arange(1, 8)[None]
    text = np.asarray(model.generate(ids, max_new_tokens=5, eos_token_id=None))
    logits = np.asarray(model(input_ids=text).logits)
    np.testing.assert_array_equal(text[:, 7:], logits[:, 6:-1].argmax(-1))


SHORT, LONG = (1.0, 1.1), (30.0, 60.0)
ROPE = {"rope_type": "longrope", "rope_theta": 10.0, "short_factor": SHORT, "long_factor": LONG}


def test_phi_3_reads_a_text_anew_where_its_rotation_changes():
    config = read("phi3", rope_parameters=ROPE, original_max_position_embeddings=8, head_dim=4)
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(1))
    model = tj.bind(model, jax.tree.map(lambda x: 8 * x, tj.functional(model)[1]))
    ids = np.random.default_rng(0).integers(1, 40, (2, 6))
    text = np.asarray(model.generate(ids, max_new_tokens=6, eos_token_id=None))
    for end in (7, 9, 10):  # each token is the best behind the whole text before it
        logits = np.asarray(model(input_ids=text[:, :end]).logits)
        np.testing.assert_array_equal(text[:, end], logits[:, -1].argmax(-1))
    beams = model.generate(ids, max_new_tokens=6, eos_token_id=None, num_beams=2, length_penalty=0,
                           return_dict_in_generate=True)  # fmt: skip
    found = np.asarray(beams.sequences)
    total = np.zeros(2)
    for end in range(6, 12):
        chance = jax.nn.log_softmax(model(input_ids=found[:, :end]).logits[:, -1])
        total += np.asarray(chance)[[0, 1], found[:, end]]
    np.testing.assert_allclose(beams.sequences_scores, total, rtol=1e-5)
    whole = np.asarray(model(input_ids=text).logits)  # all of it under the long rotation
    assert (whole[:, 5:8].argmax(-1) != text[:, 6:9]).any()  # the control
    why = "reads a text anew once it has more than 8 tokens; leave"
    with pytest.raises(ValueError, match=why):
        model.generate(ids[:1], max_new_tokens=2, prompt_lookup_num_tokens=2)


def test_one_factor_for_each_pair_that_turns():
    with pytest.raises(ValueError, match="2 short factors and 3 long ones; 2 pairs of numbers"):
        read("phi3", rope_parameters={**ROPE, "long_factor": [1.0, 2.0, 3.0]}).spec()


def test_a_quarter_of_each_head_of_stablelm_is_rotated_where_a_file_does_not_say_it():
    fraction = lambda config: config.spec().blocks[0][0].op.rotary.fraction
    small = {name: size for name, size in SMALL.items() if name != "head_dim"}
    read = lambda **values: tj.StableLmConfig.from_dict({**small, "hidden_size": 32, **values})
    assert fraction(read()) == fraction(read(rope_theta=1e3)) == 0.25
    assert fraction(read(partial_rotary_factor=0.5)) == 0.5
    rope = {"rope_type": "default", "rope_theta": 1e3}
    assert fraction(read(rope_parameters={**rope, "partial_rotary_factor": 0.75})) == 0.75
    assert fraction(read(rope_parameters=rope)) == 0.25


RELEASED = {  # what files of the hub say beside what they all say
    "mistral": dict(rope_theta=1e6, sliding_window=None, torch_dtype="bfloat16"),
    "qwen2": dict(
        max_window_layers=24, sliding_window=32768, use_mrope=False, use_sliding_window=False
    ),
    "qwen3": dict(rope_scaling=None, sliding_window=None, use_sliding_window=False),
    "gemma2": dict(
        cache_implementation="hybrid",
        hidden_act="gelu_pytorch_tanh",
        hidden_activation="gelu_pytorch_tanh",
        query_pre_attn_scalar=256,
    ),
    "gemma3_text": dict(
        cache_implementation="hybrid",
        attn_logit_softcapping=None,
        rope_local_base_freq=10000,
        rope_scaling=None,
        rope_theta=1000000,
        sliding_window_pattern=6,
    ),
    "phi3": dict(
        attention_bias=False,
        auto_map={"AutoConfig": "configuration_phi3.Phi3Config"},
        embd_pdrop=0.0,
        full_attn_mod=1,
        interpolate_factor=1,
        lm_head_bias=False,
        mlp_bias=False,
        partial_rotary_factor=0.5,
        rope_scaling={"long_factor": LONG[:1], "short_factor": SHORT[:1], "type": "longrope"},
    ),
    "olmo2": dict(attention_bias=False, rope_scaling=None, rope_theta=500000),
    "granite": dict(attention_multiplier=0.015625, logits_scaling=8.0, rope_theta=1e7),
    "smollm3": dict(
        max_window_layers=28, no_rope_layers=[1, 1, 0], pretraining_tp=2, rope_theta=5e6
    ),
    "starcoder2": dict(
        activation_function="gelu",
        attention_softmax_in_fp32=True,
        attention_type="group",
        layer_norm_epsilon=1e-05,
        mlp_type="default",
        norm_type="layer_norm",
        scale_attention_softmax_in_fp32=True,
        scale_attn_weights=True,
    ),
}


@pytest.mark.parametrize("family", RELEASED)
def test_files_as_they_were_released_are_read(family):
    config = read(family, **RELEASED[family])
    assert len(config.spec().blocks) == 3
    assert tj.AutoConfig.from_pretrained(config.to_dict()) == config
