"""Models of images and audio in use: summaries, saving, fine-tuning, misuse."""

import jax
import numpy as np
import optax
import pytest

import transformers_jax as tj
from tests.laws.families.test_modalities import MODALITIES, answers, inputs_of, same
from transformers_jax import Near
from transformers_jax.inspection.description import describe
from transformers_jax.nn.param import axes, params
from transformers_jax.training.flops import flops_per_row


def test_models_of_images_and_audio_are_described(tiny):
    descriptions = {family: describe(tiny(family).config) for family in MODALITIES}
    assert descriptions["vit"].positions == "a learned table of 10, for 3 x 3 patches"
    assert descriptions["whisper"].positions == "sinusoids of 8 positions"
    assert "a learned table of 9; a learned table of 10" in descriptions["clip"].positions
    for family, description in descriptions.items():
        assert description.total == sum(part.count for part in description.parts)
        model = tiny(family)
        assert tj.summary(model).parameters == model.parameter_count
        assert repr(model).startswith(f"{family} ({model.plan.head})")


def test_flops_are_counted_of_patches_and_frames(tiny):
    width, inner, tokens, words = 20, 28, 10, 54
    layer = 2 * tokens * (4 * width**2 + 2 * width * inner)
    flops = flops_per_row(tiny("vit"), tokens)
    assert flops.projections == 2 * layer
    assert flops.others == 2 * tokens * (3 * 4 * 4 * width) + 2 * tokens * 2 * width
    flops = flops_per_row(tiny("whisper"), 8, 6)
    assert flops.others == 2 * 16 * (3 * 5 * width) + 2 * 8 * (3 * width * width)
    assert flops.unembedding == 2 * 6 * words * width
    clip, lengths = tiny("clip"), {"text": 7, "vision": tokens}
    both = flops_per_row(clip, lengths)
    assert both.projections == sum(
        flops_per_row(tiny(f"clip_{name}_model"), length).projections
        for name, length in lengths.items()
    )
    assert both.projections < flops_per_row(clip, {"text": 8, "vision": tokens}).projections
    with pytest.raises(ValueError, match=r"expected those of its towers, \{'text', 'vision'\}"):
        flops_per_row(clip, tokens)


def test_calls_that_do_not_fit_images_are_refused(tiny):
    vit, whisper, clip = (tiny(family) for family in ("vit", "whisper", "clip"))
    pixels = inputs_of(vit)["pixel_values"]
    for call, words in (
        (lambda: tj.resize_embeddings(vit, 60, key=jax.random.key(0)), "has no vocabulary"),
        (lambda: tj.resize_embeddings(clip, 60, key=jax.random.key(0)), "has no vocabulary"),
        (lambda: vit.generate(pixels), "needs a model that scores the next token"),
        (lambda: vit.generate(pixels), "no head of its family writes text"),
        (lambda: tj.init_cache(vit, 2, 4), "vit reads no text"),
        (lambda: tj.init_cache(clip, 2, 4), "clip reads no text"),
        (lambda: vit.encode(["a text"]), "makes no vectors of sentences"),
        (lambda: tj.features(clip, pixel_values=pixels), "has the stacks text, vision"),
        (lambda: whisper.generate(max_new_tokens=2), "input_features"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    assert tj.features(vit, pixel_values=pixels, pooling="cls").shape == (3, 20)
    grown = tj.resize_embeddings(whisper, 60, key=jax.random.key(0))
    inputs = inputs_of(whisper, labels=False)
    same(grown(**inputs).logits[..., :54], whisper(**inputs).logits)


def test_sounds_are_encoded_by_position_and_by_name(tiny):
    whisper = tiny("whisper")
    features = inputs_of(whisper, labels=False)["input_features"]
    first, second = whisper.encode(features), whisper.encode(input_features=features)
    same(first.last_hidden_state, second.last_hidden_state)


def test_the_score_of_a_transcript_is_its_loss(tiny):
    whisper = tiny("whisper")
    inputs = inputs_of(whisper)
    scored = tj.score(whisper, **inputs)
    loss = whisper(**inputs).loss
    np.testing.assert_allclose(-scored.log_prob.sum() / scored.count.sum(), loss, rtol=1e-5)
    with pytest.raises(ValueError, match="head 'image_classification' gives tokens no probability"):
        tj.score(tiny("vit"), pixel_values=inputs["input_features"])


def test_a_table_that_files_hold_is_changed_by_no_optimizer_of_ours(tiny):
    whisper = tiny("whisper")
    optimizer = tj.AdamW(weight_decay=0.5)
    values = params(whisper)
    built = optimizer.build(axes(whisper), 10)
    rule = built.transformation
    updates, _ = rule.update(jax.tree.map(np.ones_like, values), rule.init(values), values)
    after = optax.apply_updates(values, updates)
    same(after["embed"]["position"], values["embed"]["position"])
    learned = after["decoder_embed"]["position"] - values["decoder_embed"]["position"]
    assert np.abs(learned).max() > 0  # the control


@pytest.mark.parametrize("family", MODALITIES)
def test_a_saved_model_is_loaded_unchanged(family, tiny, tmp_path):
    mask = {"vision": Near(left=2)} if family == "clip" else None
    model = tiny(family, mask=mask)
    model.save_pretrained(tmp_path)
    inputs = inputs_of(model, labels=False)
    same(answers(tj.from_pretrained(tmp_path)(**inputs)), answers(model(**inputs)))


@pytest.mark.parametrize("family", ["vit", "whisper"])
def test_fine_tuning_lowers_the_loss(family, tiny):
    model, optimizer = tiny(family), optax.adam(3e-3)
    step = tj.make_step(model, tj.supervised, optimizer, accumulate=2)
    state = tj.init_state(model, optimizer, jax.random.key(0))
    batch = inputs_of(model, rows=4)
    batch.pop("decoder_input_ids", None)
    losses = []
    for _ in range(8):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.8 * losses[0]
