"""The laws of families that read images, audio or actions: which a modality has, and each law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax import FULL, Near

CLOSE = dict(rtol=2e-5, atol=2e-5)  # float32, other orders of summation
MODALITIES = {
    "audio-spectrogram-transformer": "spectrograms",
    "clip": "images and texts",
    "decision_transformer": "trajectories",
    "clip_text_model": "texts to compare",
    "clip_vision_model": "images",
    "hubert": "waveforms",
    "llava": "images in texts",
    "paligemma": "images in texts",
    "blip-2": "images in texts",
    "blip_2_qformer": "latents",
    "idefics": "images beside texts",
    "perceiver": "words that latents read",
    "blip": "images and texts",
    "blip_text_model": "whole texts",
    "blip_vision_model": "images",
    "siglip": "images and whole texts",
    "siglip_text_model": "whole texts",
    "siglip_vision_model": "images",
    "siglip2": "images of any size",
    "siglip2_text_model": "whole texts",
    "siglip2_vision_model": "images of any size",
    "vision-encoder-decoder": "captions",
    "vision-text-dual-encoder": "images and texts",
    "speech-encoder-decoder": "waveforms and texts",
    "convnext": "stages",
    "convnextv2": "stages of kin",
    "resnet": "stages without noise",
    "swin": "stages",
    "swinv2": "stages of kin",
    "wav2vec2": "waveforms",
    "beit": "images",
    "deit": "images",
    "dinov2": "images",
    "dinov2_with_registers": "images",
    "dinov3_vit": "images",
    "vit": "images",
    "vit_mae": "parts of images",
    "whisper": "audio",
}
EVERY = {"layers", "recomputing", "rows", "noise", "masks", "strict", "widths", "export", "half"}
LAWS = {  # laws of ids (packing, a cache) are for models that generate text
    "images": EVERY | {"near"},
    "parts of images": EVERY,
    "texts to compare": EVERY | {"padding"},
    "images and texts": EVERY | {"padding", "near"},
    "images in texts": EVERY | {"padding", "places"},
    "images beside texts": EVERY | {"padding"},
    "latents": EVERY,
    "words that latents read": EVERY | {"padding"},
    "whole texts": EVERY,  # a text is its last token, which may be padding
    "images of any size": EVERY,
    "captions": EVERY | {"near", "writing"},
    "images and whole texts": EVERY | {"near"},
    "audio": EVERY | {"near", "writing"},
    "spectrograms": EVERY,
    "trajectories": EVERY | {"steps"},
    "waveforms": EVERY | {"silence"},
    "waveforms and texts": EVERY | {"silence", "writing"},
    "stages": EVERY - {"masks"},  # what a token reads is decided by windows and kernels
    "stages of kin": {"layers", "rows", "noise"},
    "stages without noise": EVERY - {"masks", "noise"},
}
COMPILED = {"layers", "recomputing", "strict", "widths", "export", "half"}  # of seconds a family
PARTS = {  # families built of the code of others, whose laws of seconds are in the slow matrix
    **dict.fromkeys(("clip_text_model", "clip_vision_model"), ("clip",)),
    **dict.fromkeys(("blip_text_model", "blip_vision_model"), ("blip",)),
    **dict.fromkeys(("siglip_text_model", "siglip_vision_model"), ("siglip2",)),
    **dict.fromkeys(("siglip2_text_model", "siglip2_vision_model"), ("siglip2",)),
    "blip_2_qformer": ("blip-2",),
    "convnextv2": ("convnext",),
    "deit": ("vit",),
    "dinov2": ("vit",),
    "dinov2_with_registers": ("vit",),
    "hubert": ("wav2vec2",),
    "paligemma": ("llava",),
    "siglip": ("clip", "siglip2"),
    "speech-encoder-decoder": ("wav2vec2", "whisper"),
    "swinv2": ("swin",),
    "vision-encoder-decoder": ("vit", "whisper"),
    "vision-text-dual-encoder": ("vit", "clip"),
}
tested = set()


def families_with(law):
    """The families whose modality has a law."""
    return [family for family, modality in MODALITIES.items() if law in LAWS[modality]]


def law(name):
    """A test of a law, for each family that has it."""
    tested.add(name)
    late = PARTS if name in COMPILED else ()
    slow = lambda family: [pytest.mark.slow] if family in late else []
    families = [pytest.param(family, marks=slow(family)) for family in families_with(name)]
    return pytest.mark.parametrize("family", families)


QUIET = dict(attention_dropout=0.2)
QUIET_TOWERS = lambda config: dict(
    text_config=config.text_config.replace(**QUIET),
    vision_config=config.vision_config.replace(**QUIET),
)
HIDING = dict(apply_spec_augment=True, hidden_dropout=0.2, layerdrop=0.1)
WINDOWED = dict(hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.2, drop_path_rate=0.3)
DROPOUT = {
    "clip": QUIET_TOWERS,
    "audio-spectrogram-transformer": lambda config: dict(
        hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.2
    ),
    "decision_transformer": lambda config: dict(resid_pdrop=0.2, embd_pdrop=0.2, attn_pdrop=0.2),
    "hubert": lambda config: HIDING,
    "speech-encoder-decoder": lambda config: dict(encoder=config.encoder.replace(**HIDING)),
    "wav2vec2": lambda config: HIDING | dict(final_dropout=0.1),
    "clip_text_model": lambda config: QUIET,
    "clip_vision_model": lambda config: QUIET,
    "llava": QUIET_TOWERS,
    "paligemma": QUIET_TOWERS,
    "blip-2": lambda config: dict(text_config=config.text_config.replace(dropout=0.2)),
    "blip_2_qformer": lambda config: dict(hidden_dropout_prob=0.2),
    "idefics": lambda config: dict(dropout=0.2),
    "perceiver": lambda config: dict(attention_probs_dropout_prob=0.2),
    "blip": lambda config: dict(
        text_config=config.text_config.replace(hidden_dropout_prob=0.2),
        vision_config=config.vision_config.replace(**QUIET),
    ),
    "blip_text_model": lambda config: dict(hidden_dropout_prob=0.2),
    "blip_vision_model": lambda config: QUIET,
    "siglip": QUIET_TOWERS,
    "siglip_text_model": lambda config: QUIET,
    "siglip_vision_model": lambda config: QUIET,
    "siglip2": QUIET_TOWERS,
    "siglip2_text_model": lambda config: QUIET,
    "siglip2_vision_model": lambda config: QUIET,
    "vision-encoder-decoder": lambda config: dict(
        encoder=config.encoder.replace(hidden_dropout_prob=0.2),
        decoder=config.decoder.replace(resid_pdrop=0.2),
    ),
    "vision-text-dual-encoder": lambda config: dict(
        text_config=config.text_config.replace(hidden_dropout_prob=0.2),
        vision_config=config.vision_config.replace(hidden_dropout_prob=0.2),
    ),
    "convnext": lambda config: dict(drop_path_rate=0.4),
    "convnextv2": lambda config: dict(drop_path_rate=0.4),
    "resnet": lambda config: {},
    "swin": lambda config: WINDOWED,
    "swinv2": lambda config: WINDOWED,
    "beit": lambda config: dict(drop_path_rate=0.4),
    "deit": lambda config: DROPOUT["vit"](config),
    "dinov2": lambda config: dict(drop_path_rate=0.3),
    "dinov2_with_registers": lambda config: DROPOUT["vit"](config),
    "dinov3_vit": lambda config: dict(pos_embed_rescale=2.0, pos_embed_jitter=1.1, **QUIET),
    "vit": lambda config: dict(hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.2),
    "vit_mae": lambda config: DROPOUT["vit"](config),
    "whisper": lambda config: dict(dropout=0.2, encoder_layerdrop=0.1, **QUIET),
}


@pytest.fixture
def noisy(tiny):
    """noisy("vit"): the model with dropout, where a key is given."""
    return lambda family: tiny(family, **DROPOUT[family](tiny(family).config))


def inputs_of(model, rows=3, labels=True):
    """A call with the raw input of each tower, and the labels of what has a loss."""
    rng = np.random.default_rng(7)
    draw = lambda *shape: jnp.asarray(rng.normal(size=(rows, *shape)), jnp.float32)
    ids = jnp.asarray(rng.integers(3, 52, (rows, 6)), jnp.int32)
    every = {
        "pixel_values": draw(3, 12, 12),
        "bool_masked_pos": jnp.arange(9)[None] == jnp.arange(rows)[:, None],
        "noise": draw(9),
        "input_features": draw(5, 16),
        "input_values": draw(1),
        "input_ids": ids.at[:, 3].set(52),  # the end of a text
        "attention_mask": jnp.ones((rows, 6), jnp.int32).at[0, 4:].set(0),
        "decoder_input_ids": ids,
    }
    if "returns_to_go" in model.arguments():  # of which the first row begins later
        every = {"states": draw(4, 5), "actions": draw(4, 3), "returns_to_go": draw(4, 1)}
        every["timesteps"] = jnp.asarray(rng.integers(0, 9, (rows, 4)), jnp.int32)
        every["attention_mask"] = jnp.ones((rows, 4), jnp.int32).at[0, :2].set(0)
    if "spatial_shapes" in model.arguments():  # rows of patches
        every["pixel_values"] = draw(12, 4)
        shapes = jnp.asarray([[3, 4], [2, 3], [1, 5]], jnp.int32)
        every["spatial_shapes"] = jnp.resize(shapes, (rows, 2))
        sizes = every["spatial_shapes"].prod(1, keepdims=True)
        every["pixel_attention_mask"] = (jnp.arange(12)[None] < sizes).astype(jnp.int32)
    if "image_attention_mask" in model.arguments():  # two images a row
        every["pixel_values"] = draw(2, 3, 12, 12)
        seen = jnp.arange(6)[:, None] >= jnp.array([1, 3])
        every["image_attention_mask"] = jnp.broadcast_to(seen, (rows, 6, 2)).astype(jnp.int32)
    if "query_embeds" in model.arguments():
        every = {"query_embeds": draw(5, 20), "encoder_hidden_states": draw(7, 16)}
    inputs = {name: every[name] for name in every if name in model.arguments()}
    if (held := model.reading.placeholder) is not None:
        inputs |= with_images(inputs, held.id)
        ids = inputs["input_ids"]
    if model.config.model_type == "paligemma":
        behind = jnp.arange(ids.shape[1]) >= PATCHES + 3
        inputs["token_type_ids"] = jnp.broadcast_to(behind, ids.shape).astype(jnp.int32)
    reader = next(iter(model.towers.values())).embed
    if reader.masks_raw:  # six frames, of which the first row has four
        inputs["input_values"] = draw(44)
        inputs["attention_mask"] = jnp.ones((rows, 44), jnp.int32).at[0, 34:].set(0)
    elif "input_values" in inputs:
        inputs["input_values"] = draw(14, 7)
        inputs.pop("attention_mask")
    if labels and model.plan.head == "ctc":
        inputs["labels"] = ids[:, :2]
    elif labels and "labels" in model.arguments():
        writes = model.is_encoder_decoder or model.plan.head == "causal_lm"
        ids = jnp.where(ids < 54, ids, -100)  # a placeholder may be in no vocabulary
        inputs["labels"] = ids if writes else jnp.arange(rows, dtype="int32") % 2
    return inputs


PATCHES = 9  # of an image


def with_images(inputs, image):
    """The texts, each with the tokens of an image behind its first word, and its mask."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    at = lambda x, value: jnp.concatenate(
        [x[:, :1], jnp.full((len(x), PATCHES), value, x.dtype), x[:, 1:]], axis=1
    )
    return {"input_ids": at(ids, image), "attention_mask": at(mask, 1)}


def answers(out):
    """The fields with a row for each row of the batch, by name."""
    names = ("logits", "text_embeds", "image_embeds", "last_hidden_state", "pooler_output")
    names += ("action_preds", "state_preds", "return_preds")
    return {name: out[name] for name in names if name in out}


def gradient(model, inputs, **more):
    """Loss and gradient, as a function of parameters; what has no loss has a sum of squares."""
    apply, _ = tj.functional(model)
    more |= {"return_loss": True} if "return_loss" in model.arguments() else {}

    def loss(params):
        out = apply(params, **inputs, **more)
        return out.loss if "loss" in out else sum((x**2).sum() for x in answers(out).values())

    return jax.value_and_grad(loss)


def same(actual, expected, **close):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **{**CLOSE, **close}), actual, expected
    )


@law("layers")
def test_scanned_unrolled_and_listed_layers_agree(family, tiny):
    model = tiny(family)
    inputs, (_, params) = inputs_of(model), tj.functional(model)
    expected = answers(model(**inputs))
    same(answers(tj.bind(model.abstract(unroll=True), params)(**inputs)), expected)
    listed = model.with_layers("list")
    same(answers(listed(**inputs)), expected)
    back = tj.functional(listed.with_layers("stacked"))[1]
    assert jax.tree.all(jax.tree.map(np.array_equal, back, params))


@law("recomputing")
def test_recomputing_changes_no_gradient(family, noisy):
    model = noisy(family)
    inputs, params, key = inputs_of(model), tj.functional(model)[1], jax.random.key(3)
    actual, expected = (
        jax.jit(gradient(model.abstract(remat=how), inputs, key=key))(params)
        for how in ("full", None)
    )
    same(actual, expected, rtol=1e-4, atol=1e-4)


@law("rows")
def test_a_row_does_not_depend_on_the_rest_of_the_batch(family, tiny):
    model, order = tiny(family), np.array([2, 0, 1])
    inputs = inputs_of(model, labels=False)
    whole = answers(model(**inputs))
    shuffled = answers(model(**{name: x[order] for name, x in inputs.items()}))
    same(shuffled, {name: x[order] for name, x in whole.items()})
    assert any(np.abs(shuffled[name] - whole[name]).max() > 1e-2 for name in whole)  # the control


@law("noise")
def test_noise_comes_from_a_key_and_from_nothing_else(family, noisy, tiny):
    model, inputs = noisy(family), inputs_of(noisy(family))
    name = next(iter(answers(model(**inputs))))
    quiet = model(**inputs)[name]
    noise = [model(key=jax.random.key(seed), **inputs)[name] for seed in (5, 5, 6)]
    assert np.array_equal(noise[0], noise[1])
    assert not np.array_equal(noise[0], noise[2])
    assert not np.array_equal(noise[0], quiet)
    assert np.array_equal(quiet, model(**inputs)[name])
    still = tiny(family)  # without dropout
    same(still(key=jax.random.key(0), **inputs)[name], still(**inputs)[name])


@law("padding")
def test_padding_contents_change_nothing(family, tiny):
    model = tiny(family)
    inputs = inputs_of(model, labels=False)
    real = np.asarray(inputs["attention_mask"]) > 0
    clean, dirty = (
        answers(model(**{**inputs, "input_ids": jnp.where(real, inputs["input_ids"], word)}))
        for word in (5, 6)
    )
    of_texts = ("text_embeds", "logits") if family != "clip" else ("text_embeds",)
    for name in (name for name in of_texts if name in clean):
        of_rows = lambda x: x if x.ndim == 2 else x[real]
        assert np.array_equal(of_rows(clean[name]), of_rows(dirty[name]))


@law("places")
def test_an_image_is_read_from_its_places_on(family, tiny):
    """An image of a row changes what stands at its places and behind, nothing else."""
    model = tiny(family)
    inputs = inputs_of(model, labels=False)
    before = model(**inputs).logits
    moved = {**inputs, "pixel_values": inputs["pixel_values"].at[1].add(1)}
    changed = np.abs(model(**moved).logits - before).max(-1) > 1e-5
    assert not changed[[0, 2]].any()
    assert changed[1, 0] == (MASKS[family] != tj.CAUSAL)  # a prefix attends ahead
    assert changed[1, 1:].all()


@law("silence")
def test_a_row_in_a_padded_batch_is_what_it_is_alone(family, tiny):
    model = tiny(family)
    inputs = inputs_of(model, labels=False)
    lengths = np.asarray(inputs["attention_mask"].sum(-1))
    whole = answers(model(**inputs))
    for row, length in enumerate(lengths):
        own = {name: x[row : row + 1] for name, x in inputs.items()}
        own["input_values"] = own["input_values"][:, :length]
        del own["attention_mask"]
        for name, x in answers(model(**own)).items():
            same(whole[name][row, : x.shape[1]] if x.ndim > 2 else whole[name][row], x[0])
    # whatever stands in the padding; and (the control) without a mask it counts
    loud = {**inputs, "input_values": inputs["input_values"].at[0, 36:].set(9)}
    first = lambda inputs: next(iter(answers(model(**inputs)).values()))[0, :4]
    assert np.array_equal(first(loud), first(inputs))
    bare = {name: x for name, x in loud.items() if name != "attention_mask"}
    assert not np.array_equal(first(bare), first(inputs))


@law("steps")
def test_steps_with_a_cache_equal_the_whole_episode(family, tiny):
    """Whole steps, then one in its two parts; and what padding holds changes nothing."""
    model = tiny(family)
    inputs = inputs_of(model)
    whole, cache = model(**inputs), tj.init_cache(model, 3, 14)
    part = lambda *names, step: {name: inputs[name][:, step] for name in names}
    first = model(**part(*inputs, step=slice(0, 3)), cache=cache)
    seen = part("returns_to_go", "states", "timesteps", step=slice(3, 4))
    second = model(**seen, cache=first.cache)
    done = part("actions", "timesteps", step=slice(3, 4))
    third = model(**done, cache=second.cache)
    actions = np.concatenate([first.action_preds, second.action_preds], axis=1)
    real = np.asarray(inputs["attention_mask"]) > 0
    same(actions[real], np.asarray(whole.action_preds)[real])
    for name in ("state_preds", "return_preds"):
        found = np.concatenate([first[name], third[name]], axis=1)
        same(found[real], np.asarray(whole[name])[real])
    late = model(**seen, cache=second.cache).action_preds  # the control: no action was taken
    assert np.abs(late - second.action_preds).max() > 1e-3
    dirty = {**inputs, "states": inputs["states"].at[0, :2].set(9)}
    assert np.array_equal(model(**dirty).action_preds[real], np.asarray(whole.action_preds)[real])


MASKS = {  # what a family's own masks are
    "audio-spectrogram-transformer": FULL,
    "decision_transformer": tj.CAUSAL,
    "hubert": FULL,
    "speech-encoder-decoder": {"encoder": FULL, "decoder": tj.CAUSAL, "cross": FULL},
    "wav2vec2": FULL,
    "clip": {"text": tj.CAUSAL, "vision": FULL},
    "clip_text_model": tj.CAUSAL,
    "clip_vision_model": FULL,
    "llava": tj.CAUSAL,
    "paligemma": tj.CAUSAL | tj.Where("prefix", of="query") & tj.Where("prefix"),
    "blip-2": tj.CAUSAL,
    "blip_2_qformer": FULL,
    "idefics": tj.CAUSAL,
    "perceiver": FULL,
    "blip": {"text": FULL, "vision": FULL},
    "blip_text_model": FULL,
    "blip_vision_model": FULL,
    "siglip": {"text": FULL, "vision": FULL},
    "siglip_text_model": FULL,
    "siglip_vision_model": FULL,
    "siglip2": {"text": FULL, "vision": FULL},
    "siglip2_text_model": FULL,
    "siglip2_vision_model": FULL,
    "vision-encoder-decoder": {"encoder": FULL, "decoder": tj.CAUSAL, "cross": FULL},
    "vision-text-dual-encoder": {"text": FULL, "vision": FULL},
    **dict.fromkeys(("beit", "deit", "dinov2", "dinov2_with_registers", "dinov3_vit"), FULL),
    **dict.fromkeys(("vit", "vit_mae"), FULL),
    "whisper": {"encoder": FULL, "decoder": tj.CAUSAL, "cross": FULL},
}


@law("masks")
def test_a_mask_that_is_the_familys_own_changes_nothing_and_another_does(family, tiny):
    model = tiny(family)
    inputs = inputs_of(model, labels=False)
    expected = answers(model(**inputs))
    same(answers(model.with_mask(MASKS[family])(**inputs)), expected)
    near = lambda mask: mask & Near(left=0, right=0)
    mask = MASKS[family]
    stacks = mask if isinstance(mask, dict) else {}
    narrow = {n: m if n == "cross" else near(m) for n, m in stacks.items()} or near(mask)
    other = answers(model.with_mask(narrow)(**inputs))
    assert all(np.abs(other[name] - expected[name]).max() > 1e-3 for name in expected)


NEAR = {
    **dict.fromkeys(("blip", "clip", "siglip", "vision-text-dual-encoder"), "vision"),
    **dict.fromkeys(("vision-encoder-decoder", "whisper"), "encoder"),
}


@law("near")
def test_a_token_attends_no_further_than_its_edges_reach(family, tiny):
    """Two layers in which each token attends to its neighbours: the last one informs the first
    nothing."""
    near = Near(left=1, right=1)
    model = tiny(family, mask={NEAR[family]: near} if family in NEAR else near)
    inputs = inputs_of(model, labels=False)
    raw, far = inputs.get("pixel_values"), (..., slice(8, 12), slice(8, 12))
    if raw is None:
        raw, far = inputs["input_features"], (..., slice(12, 16))
    read = {
        "vision": lambda x: model.get_image_features(x).last_hidden_state,
        "encoder": lambda x: model.encode(x).last_hidden_state,
        None: lambda x: tj.features(model, pixel_values=x),
    }[NEAR.get(family)]
    before, after = read(raw), read(raw.at[far].add(1))
    moved = np.abs(before - after).max(axis=(0, 2))
    # of the last patch two neighbours know; convolutions too hand a frame to its neighbours
    first = 3 if family == "whisper" else len(moved) - 3
    assert not moved[:first].any()
    assert (moved[first:] > 1e-4).all()


@law("strict")
def test_models_run_under_strict_jax_settings_of_the_caller(family, noisy):
    model = noisy(family)
    inputs, params = inputs_of(model), tj.functional(model)[1]
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        jax.eval_shape(gradient(model, inputs, key=jax.random.key(0)), params)
        tile = model.abstract(attention="tiled", unroll=False)
        jax.eval_shape(gradient(tile, inputs), params)


@law("widths")
def test_only_models_of_64_bits_compute_in_64_bits(family, tiny):
    model = tiny(family)
    inputs = {name: np.asarray(x) for name, x in inputs_of(model).items()}
    params = tj.functional(model)[1]
    expected = jax.jit(gradient(model, inputs))(params)
    with jax.enable_x64(True):
        gradients = jax.eval_shape(gradient(model, inputs, key=jax.random.key(3)), params)
        assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {np.dtype("float32")}
        wide = jax.tree.map(lambda x: jnp.asarray(x, "float64"), params)
        real = {n: x.astype(float) if x.dtype == np.float32 else x for n, x in inputs.items()}
        actual = jax.jit(gradient(model, real))(wide)
        assert {leaf.dtype for leaf in jax.tree.leaves(actual)} == {np.dtype("float64")}
    whole = np.sqrt(sum(np.square(x).sum() for x in jax.tree.leaves(expected[1])))
    same(actual, expected, rtol=1e-4, atol=2e-6 * float(whole))


@law("half")
def test_half_precision_is_near(family, tiny):
    model = tiny(family)
    inputs, params = inputs_of(model), tj.functional(model)[1]
    expected = answers(model(**inputs))
    half = tj.bind(model, jax.tree.map(lambda x: x.astype("bfloat16"), params))
    for other in (half, tj.bind(model.abstract(compute="mixed"), params)):
        for name, x in answers(other(**inputs)).items():
            size = np.abs(expected[name]).max()
            assert np.abs(np.asarray(x, np.float32) - expected[name]).max() < 0.1 * size, name
    assert {x.dtype.name for x in answers(half(**inputs)).values()} == {"bfloat16"}


@law("export")
def test_a_program_of_any_batch_is_exported_and_has_a_forward_derivative(family, tiny):
    model = tiny(family)
    apply, params = tj.functional(model)
    inputs = inputs_of(model, labels=False)
    rows = jax.export.symbolic_shape("b")
    shape = lambda x, *first: jax.ShapeDtypeStruct((*first, *x.shape[len(first) :]), x.dtype)
    shapes = {name: shape(x, *rows) for name, x in inputs.items()}
    forward = jax.jit(lambda params, inputs: answers(apply(params, **inputs)))
    program = jax.export.export(forward)(jax.tree.map(shape, params), shapes)
    two = {name: x[:2] for name, x in inputs.items()}
    same(program.call(params, two), forward(params, two))
    _, moved = jax.jvp(lambda p: forward(p, inputs), (params,), (params,))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(moved))


@law("writing")
@pytest.mark.parametrize("options", [{}, {"num_beams": 2}], ids=["greedy", "beams"])
def test_generation_in_steps_equals_whole_forward_passes(family, options, tiny):
    model = tiny(family)
    inputs = inputs_of(model, labels=False)
    ids = inputs["decoder_input_ids"]
    source = {n: x for n, x in inputs.items() if not n.startswith("decoder_")}
    masked = {name: x for name, x in source.items() if name == "attention_mask"}
    whole = model(**inputs).logits
    cache, logits = tj.init_cache(model, 3, 8, encoder_outputs=model.encode(**source), **masked), []
    for part in (slice(0, 3), slice(3, 4), slice(4, 6)):
        out = model(decoder_input_ids=ids[:, part], cache=cache)
        cache = out.cache
        logits.append(out.logits)
    same(np.concatenate(logits, axis=1), whole)
    write = lambda params, source: tj.generate(
        tj.bind(model, params),
        **source,
        max_new_tokens=4,
        min_new_tokens=4,
        fixed_width=True,
        **options,
    )
    params = tj.functional(model)[1]
    compiled = jax.jit(write)(params, source)
    np.testing.assert_array_equal(compiled, write(params, source))
    if not options:  # each word is the likeliest after those before it
        scores = model(**source, decoder_input_ids=compiled[:, :-1]).logits
        best = np.argmax(np.asarray(scores.at[..., 1].set(-np.inf)), axis=-1)
        np.testing.assert_array_equal(best, compiled[:, 1:])


def near(actual, expected):
    """Each array differs by 1e-4 of its norm at most, or by 1e-7 of that of all of them: one that
    is small beside others is compared as well."""
    pairs = [*zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)]
    whole = np.sqrt(sum(float(np.square(np.float64(right)).sum()) for _, right in pairs))
    for found, right in pairs:
        gap, size = (np.linalg.norm(np.float64(x)) for x in (found - right, right))
        assert gap <= 1e-4 * size + 1e-7 * whole, (right.shape, gap, size, whole)


MESHES = """
    import jax, numpy as np
    from jax.sharding import AxisType, PartitionSpec as P
    import transformers_jax as tj
    from tests.laws.families.conftest import OTHERS, _tiny
    from tests.laws.families.test_modalities import MODALITIES, answers, gradient, inputs_of
    from tests.laws.families.test_modalities import near, same
    from transformers_jax import shard

    three = tj.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    two = tj.make_mesh({"data": 2, "fsdp": 4})
    rows = jax.make_mesh((8,), ("rows",), axis_types=(AxisType.Auto,))
    for family in MODALITIES:
        make, head = OTHERS[family]
        build = lambda **on: tj.from_config(make(), head=head, key=jax.random.key(0), **on)
        model = build(unroll=False)
        inputs, params = inputs_of(model, rows=8), tj.functional(model)[1]
        expected = jax.jit(gradient(model, inputs))(params)
        mesh = two if family == "perceiver" else three  # whose queries have one head
        spread = build(unroll=False, mesh=mesh)
        leaves = jax.tree.leaves(tj.functional(spread)[1])
        assert any(not x.sharding.is_fully_replicated for x in leaves), family
        with shard.use(mesh):
            placed = jax.device_put(inputs, shard.batch_sharding(mesh))
            actual = jax.jit(gradient(spread, placed))(tj.functional(spread)[1])
        near(jax.device_get(actual), jax.device_get(expected))
        forward = lambda p, x: answers(tj.functional(model)[0](p, **x))
        specs = dict(mesh=rows, in_specs=(P(), P("rows")), out_specs=P("rows"))
        cut = jax.shard_map(forward, **specs)
        same(jax.jit(cut)(params, inputs), forward(params, inputs))
    print("agrees")
"""


def test_a_gradient_that_is_twice_as_large_is_not_near():
    right = {"small": np.full(3, 1e-4), "large": np.ones(3)}
    near(right, right)
    with pytest.raises(AssertionError):
        near({**right, "small": 2 * right["small"]}, right)


@pytest.mark.slow  # that of texts is not
def test_eight_devices_compute_what_one_computes(on_eight_devices):
    assert on_eight_devices(MESHES).stdout == "agrees\n"
