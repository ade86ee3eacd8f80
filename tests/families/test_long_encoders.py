"""ModernBERT, Longformer and BigBird: sparse graphs as masks, and costs that follow their edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.graph import connect, sequence
from transformers_jax.graph.tiles import tiles
from transformers_jax.models import config_class
from transformers_jax.models.base import Plan
from transformers_jax.models.longformer import local
from transformers_jax.nn.embed import TokenEmbedder
from transformers_jax.nn.param import bind, params
from transformers_jax.spec import Execution

SIZES = dict(
    vocab_size=53,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=20,
    max_position_embeddings=128,
)
STILL = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
CONFIGS = {
    "modernbert": tj.ModernBertConfig(**SIZES, local_attention=8),
    "longformer": tj.LongformerConfig(**SIZES, **STILL, attention_window=(6, 10), sep_token_id=2),
    "big_bird": tj.BigBirdConfig(**SIZES, **STILL, block_size=4, num_random_blocks=2),
}
ONE = {  # a single sparse layer
    "modernbert": dict(num_hidden_layers=1, layer_types=("sliding_attention",)),
    "longformer": dict(num_hidden_layers=1, attention_window=6),
    "big_bird": dict(num_hidden_layers=1),
}
OTHER = {
    "modernbert": dict(local_attention=4),
    "longformer": dict(attention_window=4),
    "big_bird": dict(num_random_blocks=1),
}
LENGTH = 97  # not a multiple of anything; BigBird is sparse beyond 36


def model_of(family, head="masked_lm", attention="auto", **overrides):
    """A tiny model with random parameters, the same ones for every backend."""
    config = CONFIGS[family].replace(**overrides)
    model = Plan(config, head, Execution(attention=attention, unroll=False)).build()
    rng = np.random.default_rng(0)
    draw = lambda leaf: jnp.asarray(0.3 * rng.normal(size=leaf.shape), jnp.float32)
    return bind(model, jax.tree.map(draw, params(model)))


def inputs_of(family, length=LENGTH):
    rng = np.random.default_rng(1)
    inputs = {"input_ids": rng.integers(5, 53, (2, length)).astype(np.int32)}
    if family != "big_bird":  # whose tiles are listed while tracing where nothing is padding
        inputs["attention_mask"] = (np.arange(length) < [[length], [length - 9]]).astype(np.int32)
    if family == "longformer":
        inputs["global_attention_mask"] = np.isin(np.arange(length), [0, 40])[None].repeat(2, 0) * 1
    return inputs


QUICKLY = {"xla_backend_optimization_level": "0", "xla_llvm_disable_expensive_passes": True}


def run(model, inputs):
    """(logits, gradient of a number made of them), compiled quickly."""
    apply, values = tj.functional(model)
    weight = np.random.default_rng(2).normal(size=(2, LENGTH, 53)).astype(np.float32)
    inputs = jax.tree.map(jnp.asarray, inputs)

    def loss(values):
        logits = apply(values, **inputs).logits
        return (logits * weight).sum(), logits

    compiled = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=QUICKLY)
    (_, logits), gradient = compiled(values)
    return logits, gradient


def forward(model, inputs):
    """Only the logits."""
    apply, values = tj.functional(model)
    inputs = jax.tree.map(jnp.asarray, inputs)
    run = lambda values: apply(values, **inputs).logits
    return jax.jit(run, compiler_options=QUICKLY)(values)


@pytest.mark.parametrize("family", CONFIGS)
def test_tiles_compute_what_the_matrix_does(family):
    inputs = inputs_of(family)
    if family == "big_bird":
        inputs["key"] = jax.random.key(3)  # random blocks
    logits, gradient = run(model_of(family, attention="tiled", **ONE[family]), inputs)
    expected, expected_gradient = run(
        model_of(family, attention="reference", **ONE[family]), inputs
    )
    valid = inputs.get("attention_mask", np.ones((2, LENGTH))) > 0
    np.testing.assert_allclose(logits[valid], expected[valid], atol=1e-5)
    norm = lambda tree: np.sqrt(sum(np.square(x).sum() for x in jax.tree.leaves(tree)))
    error = norm(jax.tree.map(jnp.subtract, gradient, expected_gradient))
    assert error <= 1e-5 * norm(expected_gradient)
    # the control: the graph of another model
    other = {**ONE[family], **OTHER[family]}
    far = forward(model_of(family, attention="reference", **other), inputs)
    assert np.abs(far - expected)[valid].max() > 1e-2


def live(layout, mask, length):
    """How many tiles of 64 x 64 tokens are alive, with the first two tokens global."""
    few = (np.arange(length) < 2).astype(np.int32)[None]
    noise = np.ones((1, length), np.int32)
    nodes = sequence(length, tags={"global": few, "noise": noise})
    nodes = nodes if layout is None else layout(nodes)
    may, _ = tiles(connect(mask, nodes), (64, 64))
    assert isinstance(may, np.ndarray), "all of it is known while tracing"
    return int(may.sum())


@pytest.mark.parametrize("family", CONFIGS)
def test_live_tiles_grow_with_the_length_and_not_with_its_square(family):
    wide = {"longformer": dict(attention_window=512), "big_bird": dict(block_size=64)}
    spec = CONFIGS[family].replace(**wide.get(family, {})).spec()
    (attend, _), layout = spec.blocks[1], spec.layout
    for mask in attend.op.masks:
        counts = [live(layout, mask, length) for length in (2048, 4096, 8192)]
        assert counts[2] - counts[1] <= 2.1 * (counts[1] - counts[0])
        assert counts[1] < 0.35 * 64**2
    # the control: full attention
    whole = [live(layout, tj.FULL, length) for length in (2048, 4096, 8192)]
    assert whole[2] - whole[1] > 3.9 * (whole[1] - whole[0])


def test_random_blocks_are_there_in_calls_with_a_key_and_alike_in_all_of_them():
    model = model_of("big_bird", attention="reference", **ONE["big_bird"])
    inputs = inputs_of("big_bird")
    with_key = forward(model, {**inputs, "key": jax.random.key(1)})
    again = forward(model, {**inputs, "key": jax.random.key(2)})
    np.testing.assert_array_equal(with_key, again)  # without dropout nothing else is random
    assert np.abs(with_key - forward(model, inputs)).max() > 1e-2
    masks = [attend.op.mask for attend, _ in CONFIGS["big_bird"].spec().blocks]
    assert len(set(masks)) == 2, "each layer has a graph of its own"


def test_queries_of_short_rows_attend_to_all_keys():
    spec = CONFIGS["big_bird"].spec()
    allowed = lambda length, mask: connect(mask, spec.layout(sequence(length))).allowed()
    for attend, _ in spec.blocks:
        assert allowed(36, attend.op.mask).all()
        assert not allowed(37, attend.op.mask).all()
    short = spec.layout(sequence(36))
    assert not short.tag("repeats").any(), "no key counts twice"


def test_a_dilated_window_takes_every_so_many_th_key():
    allowed = np.asarray(connect(local(2, 3), sequence(15)).allowed())[0, 7]
    np.testing.assert_array_equal(np.flatnonzero(allowed), [1, 4, 7, 10, 13])
    config = CONFIGS["longformer"].replace(attention_dilation=(1, 2))
    assert config.to_dict()["attention_dilation"] == [1, 2]
    assert "attention_dilation" not in CONFIGS["longformer"].to_dict()
    assert str(config.spec().blocks[0][0].op.mask).find("Strided") < 0
    assert "Strided(2)" in str(config.spec().blocks[1][0].op.mask)


def test_each_task_has_its_global_tokens():
    ids = np.full((1, 9), 7, np.int32)
    ids[0, [2, 3, 8]] = 2
    config = CONFIGS["longformer"]
    rules = {head: config.default_global(head) for head in config.HEADS.values()}
    global_tokens = {
        head: rule(jnp.asarray(ids), ids.shape)[0].tolist() for head, rule in rules.items()
    }
    assert global_tokens["sequence_classification"] == [1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert global_tokens["question_answering"] == [1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert global_tokens["multiple_choice"] == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert global_tokens["masked_lm"] == global_tokens["token_classification"] == [0] * 9
    model = model_of("longformer", "question_answering")
    with pytest.raises(
        ValueError, match=r"row 1 holds 0 separators 2 \(sep_token_id\), expected 3"
    ):
        model(input_ids=np.concatenate([ids, np.full_like(ids, 7)]))


def test_big_bird_scales_inputs_embeds_like_token_embeddings():
    for on, scale in ((True, 24**0.5), (False, 1.0)):
        config = tj.BigBirdConfig(vocab_size=9, hidden_size=24, rescale_embeddings=on)
        scaled = TokenEmbedder(config.embed()).scaled(jnp.ones((1, 2, 24)), jnp.float32)
        assert jnp.allclose(scaled, scale)


def test_big_bird_with_cross_attention_uses_full_attention():
    decoder = tj.BigBirdConfig(**SIZES, is_decoder=True, add_cross_attention=True)
    assert decoder.attention_type == "block_sparse"
    assert not decoder.sparse
    assert tj.BigBirdConfig(**SIZES).sparse  # the control


@pytest.mark.parametrize(
    ("label_names", "scored"),  # which of the two have a loss: BigBird, BERT
    [
        (("labels",), (True, False)),
        (("next_sentence_label",), (False, False)),
        (("labels", "next_sentence_label"), (True, True)),
    ],
)
def test_big_bird_needs_no_second_label_for_a_loss(label_names, scored):
    ids, every = np.ones((2, 7), np.int32), {"labels": (2, 7), "next_sentence_label": (2,)}
    labels = {name: np.ones(every[name], np.int32) for name in label_names}
    for kind, has in zip((tj.BigBirdConfig, tj.BertConfig), scored):
        apply, values = tj.functional(Plan(kind(**SIZES), "pretraining").build())
        outputs = jax.eval_shape(lambda p, f=apply: f(p, input_ids=ids, **labels), values)
        assert ("loss" in outputs) == has


HUB = {  # keys of well-known files besides those that today's classes write
    "modernbert": dict(
        global_attn_every_n_layers=3, global_rope_theta=160000.0, local_rope_theta=10000.0,
        layer_norm_eps=1e-5, position_embedding_type="absolute", gradient_checkpointing=False,
        cls_token_id=50281, sep_token_id=50282, deterministic_flash_attn=False,
        reference_compile=None, repad_logits_with_grad=False, sparse_prediction=True,
        sparse_pred_ignore_index=-100, torch_dtype="float32",
    ),
    "longformer": dict(
        attention_mode="longformer", attention_window=[512] * 12, ignore_attention_mask=False,
        gradient_checkpointing=False, sep_token_id=2, onnx_export=False, model_max_length=4096,
    ),
    "big_bird": dict(
        attention_type="block_sparse", block_size=64, num_random_blocks=3, sep_token_id=66,
        rescale_embeddings=False, use_bias=True, use_cache=True, gradient_checkpointing=False,
        position_embedding_type="absolute", is_decoder=False, add_cross_attention=False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", HUB)
def test_configs_of_the_hub_are_read(family):
    values = {"model_type": family, **HUB[family]}
    config = config_class(values).from_dict(values)
    assert values.items() <= {**values, **config.to_dict()}.items()
    assert config.model_type == family


@pytest.mark.parametrize(
    ("family", "change", "words"),
    [
        ("modernbert", {"layer_types": ["full_attention"]}, "for each of the 2 layers"),
        ("modernbert", {"classifier_pooling": "max"}, "expected 'cls' or 'mean'"),
        ("modernbert", {"rope_parameters": {"rope_theta": 1.0}}, "has rope_theta; expected"),
        ("longformer", {"attention_window": [4]}, r"attention_window \[4\].* each of the 2 layers"),
        ("longformer", {"attention_window": 5}, r"attention_window \[5, 5\].*even"),
        ("longformer", {"autoregressive": True}, "autoregressive=True is not implemented"),
        ("big_bird", {"attention_type": "sparse"}, "'block_sparse', 'original_full'"),
        ("big_bird", {"is_decoder": True}, "give attention_type='original_full'"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(family, change, words):
    values = {**CONFIGS[family].to_dict(), **change}
    with pytest.raises(ValueError, match=words):
        config_class(values).from_dict(values)
