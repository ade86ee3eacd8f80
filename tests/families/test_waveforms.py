"""Encoders of waveforms: what they refuse, what they hide, and how padding is read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from tests.laws.families.conftest import BERT, CROSS_ATTENTION, WAVES
from transformers_jax.models.base import Plan
from transformers_jax.nn.param import bind, params
from transformers_jax.nn.spec_augment import Spans, SpecAugment

rng = np.random.default_rng(0)
SAMPLES = rng.normal(size=(2, 44)).astype(np.float32)
MASK = (np.arange(44) < np.array([[34], [44]])).astype(np.int32)


def model_of(head="ctc", **changes):
    """A tiny model, drawn from a fixed key."""
    return tj.from_config(
        tj.Wav2Vec2Config(**{**WAVES, **changes}), head=head, key=jax.random.key(0)
    )


@pytest.fixture(scope="module")
def model():
    return model_of()


WRONG = {
    "left padding": (dict(attention_mask=MASK[:, ::-1].copy()), r"follows padding at \[0, 10\]"),
    "no audio": (dict(attention_mask=0 * MASK), "row 0 has 0 samples of audio"),
    "mask of frames": (dict(attention_mask=MASK[:, :7]), r"shape \(2, 7\)"),
    "stereo": (dict(input_values=SAMPLES[None]), "mix stereo down"),
    "too short": (dict(input_values=SAMPLES[:, :9]), "9 samples a row.* one frame .* reads 11"),
    "nan": (dict(input_values=np.where(np.arange(44) == 5, np.nan, SAMPLES)), r"\[0, 5\] is nan"),
    "integers": (dict(input_values=MASK), "floating-point"),
    "hidden frames": (dict(mask_time_indices=MASK), r"frames of this audio has \(2, 6\)"),
    "labels": (dict(labels=[[54], [1]]), r"labels\[0, 0\] is 54"),
    "other rows": (dict(labels=[[1]]), "expected 2 rows"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_call_that_cannot_be_read_is_refused_with_its_reason(name, model):
    wrong, match = WRONG[name]
    with pytest.raises(ValueError, match=match):
        model(**{"input_values": SAMPLES, **wrong})


def test_configs_that_no_model_has_are_refused():
    for changes, head, match in (
        (dict(conv_dim=(6, 8, 8)), "ctc", "conv_dim has 3"),
        (dict(num_conv_pos_embedding_groups=3), "ctc", "groups of the convolution of positions"),
        (dict(add_adapter=True), "sequence_classification", "add_adapter=False"),
        (dict(pad_token_id=None), "ctc", "pad_token_id=0"),
        (dict(codevector_dim=9), "pretraining", "codevector_dim"),
        (dict(ctc_loss_reduction="none"), "ctc", "ctc_loss_reduction"),
    ):
        with pytest.raises(ValueError, match=match):
            model_of(head, **changes)
    decoder = tj.BertConfig(**BERT, **CROSS_ATTENTION)
    config = tj.SpeechEncoderDecoderConfig(encoder=tj.BertConfig(**BERT), decoder=decoder)
    with pytest.raises(ValueError, match="bert reads input_ids; an encoder of speech reads"):
        tj.from_config(config, key=jax.random.key(0))
    bare = model_of(mask_time_prob=0.0, mask_feature_prob=0.0, apply_spec_augment=True)
    hidden = dict(input_values=SAMPLES, mask_time_indices=MASK[:, :6])
    with pytest.raises(ValueError, match=r"mask_time_prob=0\.05"):
        bare(**hidden)
    model_of(mask_feature_prob=0.0, mask_time_prob=0.05, apply_spec_augment=True)(**hidden)


def test_a_group_norm_reads_padding_and_a_layer_norm_does_not():
    for norm, same in (("layer", True), ("group", False)):
        model = model_of("none", feat_extract_norm=norm)
        whole = model(input_values=SAMPLES, attention_mask=MASK).last_hidden_state[0, :4]
        alone = model(input_values=SAMPLES[:1, :34]).last_hidden_state[0]
        assert np.allclose(whole, alone, atol=1e-5) is same


def test_a_whisper_that_trains_hears_some_frames_only():
    sizes = dict(vocab_size=20, num_mel_bins=6, d_model=8, max_source_positions=16)
    sides = ("encoder", "decoder")
    sizes |= {f"{side}_{name}": 1 for side in sides for name in ("layers", "attention_heads")}
    hides = dict(apply_spec_augment=True, mask_time_prob=0.5, mask_time_length=4)
    features = rng.normal(size=(2, 6, 32)).astype("float32")

    def run(key, **settings):
        config = tj.WhisperConfig(**sizes, init_std=0.5, pad_token_id=0, **settings)
        model = tj.from_config(config, key=jax.random.key(0))
        ids = np.ones((2, 3), int)
        out = model(input_features=features, decoder_input_ids=ids, key=key)
        return np.asarray(out.encoder_last_hidden_state)

    for settings in (hides, {**hides, "mask_time_prob": 0.0, "mask_feature_prob": 0.5}):
        settings = {**settings, "mask_feature_length": 2}
        noisy = [run(jax.random.key(n), **settings) for n in (0, 0, 1)]
        np.testing.assert_array_equal(noisy[0], noisy[1])
        assert np.abs(noisy[0] - noisy[2]).max() > 1e-3
        np.testing.assert_array_equal(run(None, **settings), run(jax.random.key(0)))


def test_hidden_frames_are_zero_and_the_others_as_they_were():
    x = 1 + rng.random((3, 40, 6))
    hidden = SpecAugment(Spans(0.5, 4), Spans(0.4, 2)).zeroed(jnp.asarray(x), jax.random.key(0))
    kept = np.asarray(hidden) != 0
    np.testing.assert_allclose(np.asarray(hidden)[kept], x[kept], rtol=1e-6)
    frames, channels = kept.any(2), kept.any(1)
    np.testing.assert_array_equal(kept, frames[:, :, None] & channels[:, None])
    assert 0.2 < frames.mean() < 0.9
    assert 0.2 < channels.mean() < 0.9


def test_hidden_frames_tell_nothing_of_their_audio():
    config = tj.Wav2Vec2Config(**{**WAVES, "apply_spec_augment": True})
    model = Plan(config, "none").build()
    draw = lambda x: jnp.asarray(0.3 * rng.normal(size=x.shape), "float32")
    model = bind(model, jax.tree.map(draw, params(model)))
    every = np.ones((2, 6), bool)
    run = lambda x, **more: np.asarray(model(input_values=x, **more).last_hidden_state)
    np.testing.assert_array_equal(
        run(SAMPLES, mask_time_indices=every), run(-SAMPLES, mask_time_indices=every)
    )
    assert np.abs(run(SAMPLES) - run(-SAMPLES)).max() > 1e-3  # the control
    noisy = [run(SAMPLES, key=jax.random.key(n)) for n in (0, 0, 1)]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert np.abs(noisy[0] - noisy[2]).max() > 1e-3
    still = model_of("none")  # it hides nothing, not even what a call names (as in the reference)
    plain = still(input_values=SAMPLES).last_hidden_state
    named = still(input_values=SAMPLES, mask_time_indices=every).last_hidden_state
    np.testing.assert_array_equal(plain, named)


def test_a_quantiser_draws_its_words_with_a_key_alone():
    model = model_of("pretraining", num_codevectors_per_group=4, codevector_dim=6)
    hidden = dict(mask_time_indices=np.ones((2, 6), bool))
    negatives = rng.integers(0, 12, (2, 6, 3))
    call = lambda **more: model(
        input_values=SAMPLES, **hidden, sampled_negative_indices=negatives, **more
    )
    one, two = call(key=jax.random.key(0)), call(key=jax.random.key(1))
    assert np.array_equal(call().loss, call().loss)
    assert not np.array_equal(one.projected_quantized_states, two.projected_quantized_states)
    cold = [call(key=jax.random.key(n), gumbel_temperature=1e-3).loss for n in (0, 0)]
    assert np.isfinite(cold[0])
    for wrong, match in (
        (dict(sampled_negative_indices=negatives + 12), r"in \[0, 12\)"),
        (dict(sampled_negative_indices=negatives, mask_time_indices=None), "give both"),
    ):
        with pytest.raises(ValueError, match=match):
            model(**{"input_values": SAMPLES, **hidden, **wrong})


def test_generation_reads_samples_or_the_states_of_them():
    decoder = tj.BertConfig(**{**BERT, "hidden_size": 16}, **CROSS_ATTENTION)
    encoder = tj.Wav2Vec2Config(**WAVES, add_adapter=True, num_adapter_layers=1)
    config = tj.SpeechEncoderDecoderConfig(
        encoder=encoder, decoder=decoder, pad_token_id=0, eos_token_id=1, decoder_start_token_id=2
    )
    model = tj.from_config(config, key=jax.random.key(0))
    write = lambda **source: np.asarray(model.generate(**source, max_new_tokens=4))
    own = write(input_values=SAMPLES, attention_mask=MASK)
    encoded = model.encode(input_values=SAMPLES, attention_mask=MASK)
    assert encoded.last_hidden_state.shape[1] == 3
    step = model(encoder_outputs=encoded, attention_mask=MASK, decoder_input_ids=own[:, :-1])
    whole = model(input_values=SAMPLES, attention_mask=MASK, decoder_input_ids=own[:, :-1])
    np.testing.assert_allclose(step.logits, whole.logits, atol=1e-6)
    with pytest.raises(ValueError, match="the mask of the raw input that was encoded"):
        model(encoder_outputs=encoded, attention_mask=MASK[:, :9], decoder_input_ids=own)
