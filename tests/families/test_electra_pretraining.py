"""ELECTRA's pair: its losses are those of the two models computed apart, by hand."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.models.electra_pretraining import (
    generator_config,
    make_replaced_token_detection,
)
from transformers_jax.nn.param import axes, flatten
from transformers_jax.objectives.masking import ReplacedToken
from transformers_jax.training.finish import exportable

CONFIG = tj.ElectraConfig(
    vocab_size=53,
    embedding_size=12,
    hidden_size=20,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=28,
    max_position_embeddings=37,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
MASK = 4


@pytest.fixture(scope="module")
def pair():
    """With parameters large enough that the two disagree with chance."""
    model = make_replaced_token_detection(CONFIG, key=jax.random.key(0), fraction=0.5, unroll=False)
    return tj.bind(model, jax.tree.map(lambda x: 7 * x, tj.functional(model)[1]))


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(3)
    ids = rng.integers(5, 53, (3, 13)).astype(np.int32)
    masked = np.zeros((3, 13), bool)
    masked[0, [2, 5]] = masked[1, [1, 7, 8, 11]] = True  # and none in the last row
    valid = np.ones((3, 13), np.int32)
    valid[2, 9:] = 0
    return {
        "input_ids": np.where(masked, MASK, ids),
        "labels": np.where(masked, ids, -100).astype(np.int32),
        "attention_mask": valid,
        "token_type_ids": (np.arange(13) > 6).astype(np.int32)[None].repeat(3, 0),
    }


def by_hand(pair, batch, ids=None):
    """(generator's loss, discriminator's loss, replaced ids) of the models apart."""
    inputs = {name: x for name, x in batch.items() if name != "labels"}
    generator, labels = pair.generator_model(), batch["labels"]
    out = generator(**inputs, labels=labels)
    masked = labels != -100
    if ids is None:
        ids = np.where(masked, np.asarray(out.logits).argmax(-1), batch["input_ids"])
    replaced = (masked & (ids != labels)).astype(np.int32)
    discriminated = pair.discriminator_model()(**{**inputs, "input_ids": ids}, labels=replaced)
    return out.loss, discriminated.loss, ids


def test_its_losses_are_those_of_the_two_separate_models(pair, batch):
    out = pair(**batch)
    generator, discriminator, ids = by_hand(pair, batch)
    np.testing.assert_array_equal(out.corrupted_ids, ids)
    np.testing.assert_allclose(out.generator_loss, generator, rtol=1e-5)
    np.testing.assert_allclose(out.discriminator_loss, discriminator, rtol=1e-5)
    np.testing.assert_allclose(out.loss, generator + 50 * discriminator, rtol=1e-5)
    assert (int(out.masked_count), int(out.token_count)) == (6, 35)
    plain = by_hand(pair, batch, batch["input_ids"])[1]  # the control: masks left where they are
    assert abs(plain - out.discriminator_loss) > 1e-3


def test_sampled_tokens_follow_the_generator(pair, batch):
    apply, params = tj.functional(pair)
    draw = jax.jit(lambda key: apply(params, key=key, **quiet(batch)).corrupted_ids)
    samples = np.stack([draw(jax.random.key(n)) for n in range(400)])
    masked = batch["labels"] != -100
    assert (samples[:, ~masked] == batch["input_ids"][~masked]).all()
    inputs = {name: x for name, x in batch.items() if name != "labels"}
    probabilities = jax.nn.softmax(pair.generator_model()(**inputs).logits, -1)[masked]
    frequencies = (samples[:, masked][..., None] == np.arange(53)).mean(0)
    assert np.abs(frequencies - probabilities).max() < 0.1  # 4 deviations of 400 draws
    assert (
        np.abs(frequencies - np.eye(53)[np.argmax(probabilities, -1)]).max() > 0.2
    )  # not the likeliest
    assert np.array_equal(draw(jax.random.key(0)), samples[0])


def quiet(batch):
    return {name: jnp.asarray(x) for name, x in batch.items()}


def test_a_sampled_token_equal_to_the_original_is_no_replacement(pair, batch):
    likeliest = np.asarray(pair(**batch).corrupted_ids)
    masked = batch["labels"] != -100
    right = {**batch, "labels": np.where(masked, likeliest, -100).astype(np.int32)}
    assert not np.asarray(pair(**right).replaced).any()
    assert np.asarray(pair(**batch).replaced).sum() == (likeliest != batch["labels"])[masked].sum()


def test_the_generator_learns_only_from_its_own_loss(pair, batch):
    apply, params = tj.functional(pair)

    def gradients(field):
        loss = lambda p: apply(p, **quiet(batch))[field]
        return flatten(jax.jit(jax.grad(loss))(params))

    by_discriminator = gradients("discriminator_loss")
    own = [name for name in by_discriminator if name.startswith("generator_")]
    assert own
    assert all(np.all(np.asarray(by_discriminator[name]) == 0) for name in own)
    by_generator = gradients("generator_loss")
    assert not np.any(np.asarray(by_generator["stack.blocks.0.self.query"]))
    assert np.any(np.asarray(by_generator["generator_stack.blocks.0.self.query"]))
    for name in ("embed.table", "embed.position", "embed.type"):  # one parameter, two teachers
        assert np.any(np.asarray(by_generator[name]))
        assert np.any(np.asarray(by_discriminator[name]))


def test_both_are_saved_and_read_as_models_of_their_own(pair, batch, tmp_path):
    pair.save_pretrained(tmp_path)
    inputs = {name: x for name, x in batch.items() if name != "labels"}
    for name, kind in (
        ("discriminator", "ElectraForPreTraining"),
        ("generator", "ElectraForMaskedLM"),
    ):
        again, model = (
            tj.from_pretrained(tmp_path / name, unroll=False),
            getattr(pair, f"{name}_model")(),
        )
        assert again.config.architectures == (kind,)
        np.testing.assert_array_equal(again(**inputs).logits, model(**inputs).logits)


def test_a_run_exports_both_without_the_mask_of_packed_rows(pair, batch):
    objective = ReplacedToken()
    packed = pair.with_mask(objective.mask(packed=True))
    run = SimpleNamespace(
        model=packed,
        config=SimpleNamespace(objective=objective),
        averaged=lambda state: tj.functional(state)[1],
    )
    exported = exportable(run, packed).exports()
    assert list(exported) == ["", "generator"]
    ids = {"input_ids": batch["input_ids"]}
    for name, part in ("", pair.discriminator_model()), ("generator", pair.generator_model()):
        assert exported[name].stack.masks("self") == part.stack.masks("self")
        np.testing.assert_array_equal(exported[name](**ids).logits, part(**ids).logits)
        control = packed.exports()[name]  # reads a tag that no user of the model has
        with pytest.raises(ValueError, match="document"):
            control(**ids)
    model = pair.generator_model()
    assert model.exports() == {"": model}


def test_every_parameter_has_its_axes_named(pair):
    named, leaves = flatten(axes(pair)), flatten(tj.functional(pair)[1])
    assert {name: len(x) for name, x in named.items()} == {n: x.ndim for n, x in leaves.items()}
    assert sum(name.endswith("table") for name in leaves) == 1


def test_invalid_generators_are_refused(batch):
    with pytest.raises(ValueError, match=r"width 6, .* head \(5\); 1/4, 2/4, 3/4 would do"):
        generator_config(CONFIG, 0.3)
    with pytest.raises(ValueError, match="more than 0 and at most 1"):
        generator_config(CONFIG, 1.5)
    with pytest.raises(ValueError, match="expected an ElectraConfig"):
        make_replaced_token_detection(tj.BertConfig(), key=jax.random.key(0))


def test_the_small_pair_has_the_published_widths():
    small = generator_config(tj.ElectraConfig(), 0.25)
    assert (small.hidden_size, small.num_attention_heads, small.intermediate_size) == (64, 1, 256)
