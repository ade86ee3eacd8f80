"""Where generation options come from, and what is refused before anything compiles."""

import json
import types

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.generation.markov import Markov, MarkovConfig
from transformers_jax.generation import generate
from transformers_jax.generation.options import Options, of_search, resolve
from transformers_jax.generation.processors.build import Setting, build
from transformers_jax.models.encoder_decoder import EncoderDecoderConfig
from transformers_jax.pretrained import generation_settings

CONFIG = types.SimpleNamespace(eos_token_id=3, pad_token_id=None, bos_token_id=1)


def model(**config):
    table = np.random.default_rng(0).normal(size=(5, 7, 7))
    return Markov(MarkovConfig(**config), table)


def test_an_argument_beats_the_config_argument_beats_the_file_beats_the_config():
    file = {
        "eos_token_id": [4, 5],
        "max_new_tokens": 8,
        "num_beams": 2,
        "transformers_version": "5",
    }
    options = resolve({"num_beams": 4}, {"max_new_tokens": 9}, file, CONFIG)
    assert options.eos_token_id == (4, 5)
    assert options.bos_token_id == 1
    assert options.max_new_tokens == 9
    assert options.num_beams == 4
    assert resolve({}, None, {}, CONFIG).eos_token_id == (3,)


def test_none_switches_an_option_off():
    file = {"eos_token_id": 4, "suppress_tokens": [1], "num_beams": 2}
    options = resolve(dict.fromkeys(file), None, file, CONFIG)
    assert options.eos_token_id == ()
    assert options.suppress_tokens == ()
    assert options.num_beams == 1
    assert resolve({"do_sample": True}, None, {}, CONFIG).top_k == 50
    assert not resolve({"do_sample": True, "top_k": None}, None, {}, CONFIG).top_k


def test_pad_is_the_end_token_where_there_is_none():
    assert resolve({}, None, {}, CONFIG).pad_token_id == 3
    assert resolve({"pad_token_id": -1}, None, {}, CONFIG).pad_token_id == 3
    assert resolve({"eos_token_id": None}, None, {}, CONFIG).pad_token_id is None


def test_an_explicit_length_beats_the_other_length_of_the_file():
    options = resolve({"max_length": 12}, None, {"max_new_tokens": 5}, CONFIG)
    assert (options.max_length, options.max_new_tokens) == (12, None)


def test_numbers_do_not_select_the_program():
    one = resolve({"do_sample": True, "temperature": 0.5, "max_new_tokens": 3}, None, {}, CONFIG)
    two = resolve({"do_sample": True, "temperature": 0.7, "max_new_tokens": 9}, None, {}, CONFIG)
    assert of_search(one) == of_search(two)
    assert hash(one) != hash(two)
    structure = lambda options: jax.tree.structure(
        build(options, Setting(np.int32(1), np.int32(9)))
    )
    assert structure(one) == structure(two)
    greedy = resolve({}, None, {}, CONFIG)
    assert build(greedy, Setting(np.int32(1), np.int32(9))) == ()
    assert of_search(greedy) != of_search(one)
    assert structure(greedy) != structure(one)


def test_an_unknown_option_is_refused_with_the_nearest_name():
    with pytest.raises(TypeError, match=r"max_new_token'.*'max_new_tokens'"):
        generate(model(), input_ids=np.array([[1]]), max_new_token=4)
    with pytest.raises(TypeError, match="attention_mask"):
        generate(model(), input_ids=np.array([[1]]), attention_masks=np.array([[1]]))
    with pytest.raises(TypeError, match=r"position_ids.*counted from attention_mask"):
        generate(model(), input_ids=np.array([[1]]), position_ids=np.array([[4]]))
    with pytest.raises(TypeError, match="tempratur"):
        generate(model(), input_ids=np.array([[1]]), generation_config={"tempratur": 1.0})


def test_an_unsupported_option_is_refused_wherever_it_is_set():
    for arguments, file in [({"low_memory": True}, {}), ({}, {"low_memory": True})]:
        with pytest.raises(ValueError, match=r"low_memory=True.*low_memory=None"):
            resolve(arguments, None, file, CONFIG)
    assert resolve({"low_memory": None}, None, {"low_memory": True}, CONFIG) == Options(
        eos_token_id=(3,), pad_token_id=3, bos_token_id=1, top_k=None
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_beams": 0}, "num_beams must be >= 1, got 0"),
        ({"temperature": 0.0}, "temperature must be > 0, got 0.0"),
        ({"temperature": -1.0, "do_sample": True}, "temperature must be > 0"),
        *(
            ({"temperature": t, "do_sample": True}, "temperature must be from 1e-15 to 1e.09")
            for t in (1e-38, 1e-45, 1e39)
        ),
        ({"temperature": 1e-40}, "for the likeliest token pass do_sample=False"),
        ({"repetition_penalty": 1e39}, "repetition_penalty must be from 1e-15 to 1e.09"),
        *(
            ({"num_beams": 2, "length_penalty": p, "max_new_tokens": 30}, "from -18.9 to 18.9")
            for p in (40.0, -30, 1e39)
        ),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\], got 0.0"),
        ({"top_p": 1.5}, "top_p must be in"),
        ({"top_k": -3}, "top_k must be >= 0"),
        ({"max_new_tokens": -1}, "max_new_tokens must be >= 0"),
        ({"early_stopping": "soon"}, "early_stopping must be"),
        ({"num_return_sequences": 2}, "do_sample=True"),
        ({"num_return_sequences": 4, "num_beams": 3}, "at most num_beams"),
        ({"num_beams": 3, "num_beam_groups": 2, "diversity_penalty": 1.0}, "pass num_beams=4"),
        ({"num_beams": 4, "num_beam_groups": 2}, "diversity_penalty=1.0"),
        ({"num_beams": 4, "diversity_penalty": 1.0}, "pass num_beam_groups=2"),
        ({"penalty_alpha": 0.6}, "pass top_k=4"),
        ({"penalty_alpha": 0.6, "top_k": 0}, "pass top_k=4"),
        ({"penalty_alpha": 0.6, "top_k": 8}, "pass top_k=7 or less"),
        ({"penalty_alpha": 1.6}, r"penalty_alpha must be in \[0, 1\]"),
        ({"penalty_alpha": 0.6, "top_k": 4, "num_beams": 2}, "pass num_beams=None"),
        ({"penalty_alpha": 0.6, "top_k": 4, "guidance_scale": 2.0}, "pass guidance_scale=None"),
        ({"best_of": 4, "num_beams": 2}, "pass best_of=None, or num_beams=1"),
        ({"best_of": 4}, "pass do_sample=True"),
        ({"best_of": 2, "do_sample": True, "num_return_sequences": 3}, "pass best_of=3"),
        ({"penalty_alpha": 0.6, "top_k": 4, "prompt_lookup_num_tokens": 3}, "penalty_alpha=None"),
        ({"num_beam_groups": 0}, "num_beam_groups must be >= 1"),
        ({"num_beams": 2, "diversity_penalty": -1.0}, "diversity_penalty must be >= 0"),
        (
            {"num_beams": 2, "num_beam_groups": 2, "diversity_penalty": 1.0, "do_sample": True},
            "pass do_sample=False",
        ),
        ({"bad_words_ids": [[]]}, "bad_words_ids"),
        ({"do_sample": True}, "key=jax.random.key"),
        ({"num_beams": "three"}, "num_beams must be a whole number, got 'three'"),
        ({"max_new_tokens": 2.5}, "max_new_tokens must be a whole number, got 2.5"),
        *(
            ({name: value}, f"{name} must be a finite number, got {value}")
            for name in ("temperature", "top_p", "length_penalty", "repetition_penalty")
            for value in (float("nan"), float("inf"))
        ),
        ({"do_sample": "no"}, "do_sample must be True or False, got 'no'"),
        ({"renormalize_logits": 1}, "renormalize_logits must be True or False, got 1"),
        ({"early_stopping": 1}, "early_stopping must be True, False or"),
        ({"eos_token_id": 2.5}, "eos_token_id must be whole numbers"),
        ({"suppress_tokens": [True]}, "suppress_tokens must be whole numbers"),
        ({"bad_words_ids": [4]}, "bad_words_ids must be a list of words"),
        ({"bad_words_ids": "ab"}, "bad_words_ids must be a list of words"),
        *(
            ({name: token}, rf"{name} is {token}, outside the vocabulary \[0, 7\).*{name}=None")
            for name in (
                *("eos_token_id", "pad_token_id", "forced_bos_token_id", "forced_eos_token_id"),
                *("suppress_tokens", "begin_suppress_tokens"),
            )
            for token in (7, *([] if name == "pad_token_id" else [-1]))  # pad -1: none
        ),
        ({"bad_words_ids": [[1], [2, 7]]}, r"bad_words_ids is 7, outside the vocabulary"),
        ({"suppress_tokens": [*range(7)]}, "suppress_tokens ban all 7 tokens of the vocabulary"),
        (
            {"begin_suppress_tokens": [*range(5)], "bad_words_ids": [[5], [6]]},
            "begin_suppress_tokens and bad_words_ids ban all 7 tokens",
        ),
    ],
)
def test_values_out_of_range_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        generate(model(), input_ids=np.array([[1, 2]]), **options)


@pytest.mark.parametrize("option", ["temperature", "max_new_tokens", "eos_token_id"])
def test_a_traced_option_is_named_with_what_to_do(option):
    def write(value):
        return generate(model(), input_ids=np.array([[1, 2]]), fixed_width=True, **{option: value})

    with pytest.raises(ValueError, match=f"{option} came as traced.*static_argnames=.'{option}'"):
        jax.jit(write)(3)
    advised = jax.jit(write, static_argnames=("value",))
    assert advised(value=3).shape[0] == 1


def test_a_default_token_of_the_family_outside_a_small_vocabulary_is_no_token():
    small = types.SimpleNamespace(eos_token_id=50256, pad_token_id=None)
    family = type("Config", (), {"eos_token_id": 50256, "pad_token_id": None})
    assert resolve({}, None, {"eos_token_id": 50256}, family(), 7).eos_token_id == ()
    assert resolve({}, None, {}, family(), 50257).eos_token_id == (50256,)
    for sources in [({"eos_token_id": 50256}, None), ({}, {"eos_token_id": 50256})]:
        with pytest.raises(ValueError, match="eos_token_id is 50256"):
            resolve(*sources, {}, family(), 7)
    with pytest.raises(ValueError, match="eos_token_id is 50256"):  # the control: somebody's word
        resolve({}, None, {}, small, 7)


def test_old_switches_of_a_config_change_the_text_as_they_did(tmp_path):
    old = {"model_type": "bart", "force_bos_token_to_be_generated": True, "bos_token_id": 5}
    (tmp_path / "config.json").write_text(json.dumps(old))
    config = tj.BartConfig.from_pretrained(tmp_path)
    settings = generation_settings(tmp_path, config)
    assert (settings["forced_bos_token_id"], settings["forced_eos_token_id"]) == (5, 2)
    plain = tj.BartConfig.from_dict({**old, "force_bos_token_to_be_generated": False})
    assert plain.forced_bos_token_id is None
    renamed = tj.BartConfig.from_dict({**old, "forced_bos_token_id": 7})
    assert renamed.forced_bos_token_id == 7  # today's name wins
    # a model that was never saved writes what it does when it is loaded again
    assert resolve({}, None, {}, config).forced_eos_token_id == (2,)
    assert resolve({}, None, {"max_length": 9}, config).forced_eos_token_id == ()  # the control
    (tmp_path / "generation_config.json").write_text(json.dumps({"max_length": 9}))
    assert "forced_eos_token_id" not in generation_settings(tmp_path, config)


def test_all_wrong_values_are_reported_at_once():
    with pytest.raises(ValueError, match=r"num_beams.*temperature.*top_p"):
        generate(model(), input_ids=np.array([[1]]), num_beams=0, temperature=-1.0, top_p=2.0)


@pytest.mark.parametrize(
    ("ids", "mask", "match"),
    [
        (np.array([[1, 2], [3, 7]]), None, r"input_ids\[1, 1\] is 7, outside .*\[0, 7\)"),
        (np.array([[-1, 2]]), None, r"input_ids\[0, 0\] is -1"),
        (np.array([[2**31 + 5, 2]]), None, r"input_ids\[0, 0\] is 2147483653"),
        (np.array([[1.0, 2.0]]), None, "integers, but its dtype is float64"),
        (np.zeros((0, 3), int), None, r"shape \(0, 3\)"),
        (np.zeros((2, 0), int), None, r"shape \(2, 0\)"),
        (np.array([1, 2]), None, r"shape is \(2,\)"),
        (np.array([[1, 2, 3]]), np.array([[1, 2, 0]]), r"attention_mask\[0, 1\] is 2"),
        (np.array([[1, 2]]), np.array([[0.0, -1e9]]), "attention_mask must hold integers"),
        (np.array([[1, 2]]), np.array([[0, 0]]), "row 0 of attention_mask is empty"),
        (np.array([[1, 2]]), np.array([[1, 1, 1]]), "attention_mask has shape"),
    ],
)
def test_wrong_prompts_are_refused_with_the_position(ids, mask, match):
    with pytest.raises(ValueError, match=match):
        generate(model(), input_ids=ids, attention_mask=mask)


def test_a_prompt_of_padding_only_is_refused_without_a_mask_too():
    with pytest.raises(ValueError, match=r"row 1 .* pad_token_id \(0\) only"):
        generate(model(pad_token_id=0), input_ids=np.array([[1, 2], [0, 0]]))


def test_more_tokens_than_positions_are_refused_with_both_numbers():
    small = model(max_position_embeddings=10)
    with pytest.raises(ValueError, match=r"prompt \(4\).*new tokens \(7\) = 11.*10 positions"):
        generate(small, input_ids=np.array([[1, 2, 3, 4]]), max_new_tokens=7)
    assert generate(small, input_ids=np.array([[1, 2, 3, 4]]), max_new_tokens=6).shape == (1, 10)
    assert generate(small, input_ids=np.array([[1, 2, 3, 4]])).shape == (1, 10)  # 20, or what fits


def test_lengths():
    ids = np.array([[1, 2, 3]])
    assert generate(model(), input_ids=ids).shape == (1, 23)
    assert generate(model(), input_ids=ids, max_length=8).shape == (1, 8)
    with pytest.raises(ValueError, match=r"max_length \(2\).*3 tokens"):
        generate(model(), input_ids=ids, max_length=2)
    same = generate(model(), input_ids=ids, max_new_tokens=0)
    np.testing.assert_array_equal(same, ids)


def test_a_prompt_may_be_only_the_start_token():
    assert generate(model(bos_token_id=2), max_new_tokens=3)[0, 0] == 2
    with pytest.raises(ValueError, match="pass input_ids or bos_token_id"):
        generate(model(), max_new_tokens=3)


def test_a_list_is_as_good_as_an_array():
    one = generate(model(), input_ids=[[1, 2]], max_new_tokens=3)
    np.testing.assert_array_equal(
        one, generate(model(), input_ids=np.array([[1, 2]]), max_new_tokens=3)
    )
    with pytest.raises(ValueError, match="pad"):
        generate(model(), input_ids=[[1, 2], [1]], max_new_tokens=3)


@pytest.mark.parametrize(
    ("whole", "inner", "file", "expected"),
    [  # of the whole, of its decoder, generation_config.json; what holds
        ({"num_beams": 4, "min_length": 5}, {}, None, {"num_beams": 4, "min_length": 5}),
        ({"num_beams": 4}, {}, {"top_k": 7}, {"top_k": 7}),
        ({"forced_eos_token_id": 2}, {}, {}, {}),
        ({"forced_eos_token_id": 2}, {}, None, {"forced_eos_token_id": 2}),
        ({}, {"max_length": 9, "num_beams": 3}, None, {"max_length": 9, "num_beams": 3}),
        ({"num_beams": 4}, {"num_beams": 3}, None, {"num_beams": 4}),
        ({"task_specific_params": {"summarization": {"num_beams": 4}}}, {}, None, {}),
    ],
)
def test_generation_options_are_read_from_config_json_without_generation_config(
    whole, inner, file, expected, tmp_path
):
    bert = {"model_type": "bert"}
    parts = {"encoder": bert, "decoder": {**bert, "is_decoder": True, "add_cross_attention": True}}
    parts["decoder"] |= inner
    values = {"model_type": "encoder-decoder", **parts, **whole}
    (tmp_path / "config.json").write_text(json.dumps(values))
    if file is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(file))
    config = EncoderDecoderConfig(pad_token_id=0)
    assert generation_settings(tmp_path, config) == {**expected, "pad_token_id": 0}
