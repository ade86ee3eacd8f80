"""Saved directories hold the attention masks of a model, layer by layer."""

import json
import logging

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax import CAUSAL, FULL, OWN, Near, Same, Where
from transformers_jax.models.base import Plan
from transformers_jax.spec import TOKENS

PREFIX = CAUSAL | Where("prefix")
IDS = np.random.default_rng(0).integers(3, 31, (2, 9))
TAGS = {"prefix": (np.arange(9) < 4).astype(np.int32)[None].repeat(2, 0)}
SIZES = dict(vocab_size=31, d_model=16, encoder_ffn_dim=16, decoder_ffn_dim=16)


def gpt2(layers=2, **options):
    config = tj.GPT2Config(
        vocab_size=31, n_positions=24, n_embd=16, n_layer=layers, n_head=2, eos_token_id=1
    )
    return tj.from_config(config, head="causal_lm", key=jax.random.key(0), **options)


def bart(**options):
    heads = dict(encoder_attention_heads=2, decoder_attention_heads=2)
    config = tj.BartConfig(**SIZES, **heads, encoder_layers=2, decoder_layers=2)
    return tj.from_config(config, head="seq2seq_lm", key=jax.random.key(0), **options)


def logits(model, **inputs):
    return np.asarray(model(input_ids=IDS, **inputs).logits)


def saved_mask(folder):
    return json.loads((folder / "config.json").read_text()).get("transformers_jax")


def test_a_mask_is_loaded_with_its_model_and_saving_logs_it(tmp_path, caplog):
    model = gpt2(mask=PREFIX)
    with caplog.at_level(logging.WARNING):
        model.save_pretrained(tmp_path)
    assert [r.getMessage() for r in caplog.records] == [
        f"{tmp_path} keeps the mask CAUSAL | Where('prefix') for transformers_jax; "
        "PyTorch's transformers use the mask of gpt2"
    ]
    assert saved_mask(tmp_path) == {"mask": "CAUSAL | Where('prefix')"}
    again = tj.from_pretrained(tmp_path)
    np.testing.assert_array_equal(logits(again, tags=TAGS), logits(model, tags=TAGS))
    causal = tj.from_pretrained(tmp_path, mask=CAUSAL)  # a mask given at load wins
    np.testing.assert_array_equal(logits(causal), logits(gpt2()))
    assert np.abs(logits(causal) - logits(again, tags=TAGS)).max() > 1e-3  # the control
    own = tj.from_pretrained(tmp_path, mask=OWN & Same("document"))
    assert own.stack.masks("self") == [PREFIX & Same("document")]
    new = tj.from_config(tmp_path, key=jax.random.key(1))
    assert new.stack.masks("self") == [PREFIX]
    assert tj.AutoConfig.from_pretrained(tmp_path) == new.config
    again.save_pretrained(tmp_path / "twice")
    assert saved_mask(tmp_path / "twice") == saved_mask(tmp_path)


def test_a_mask_of_the_family_is_not_saved(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        for number, mask in enumerate((None, OWN, CAUSAL)):
            gpt2(mask=mask).save_pretrained(tmp_path / str(number))
            assert saved_mask(tmp_path / str(number)) is None
        bart(mask={"encoder": FULL, "cross": OWN}).save_pretrained(tmp_path / "bart")
    assert saved_mask(tmp_path / "bart") is None
    assert not caplog.records


def test_the_masks_of_two_stacks_are_saved_by_their_names(tmp_path):
    masks = {"encoder": Near(2, 2), "decoder": OWN & Near(left=3), "cross": OWN}
    model = bart(mask=masks)
    model.save_pretrained(tmp_path)
    assert saved_mask(tmp_path) == {
        "mask": {"encoder": "Near(left=2, right=2)", "decoder": "OWN & Near(left=3)"}
    }
    again = tj.from_pretrained(tmp_path)
    np.testing.assert_array_equal(logits(again), logits(model))
    decoder = tj.from_pretrained(tmp_path, head="causal_lm")  # the decoder, with the decoder's
    assert decoder.stack.masks("self") == [CAUSAL & Near(left=3)]
    other = tj.from_pretrained(tmp_path, mask={"encoder": FULL})
    assert other.encoder.masks("self") == [FULL]
    assert other.decoder.masks("self") == [CAUSAL & Near(left=3)]  # nothing was said of it


def test_a_sentence_embedding_model_saves_its_mask(tmp_path):
    model = gpt2(mask=PREFIX)
    model.save_pretrained(tmp_path / "model")
    sentences = tj.from_pretrained(tmp_path / "model", head="embedding", pooling="mean")
    assert sentences.stack.masks("self") == [PREFIX]
    sentences.save_pretrained(tmp_path / "sentences")
    again = tj.from_pretrained(tmp_path / "sentences", head="embedding")
    assert again.stack.masks("self") == [PREFIX]


def test_an_encoder_and_a_decoder_keep_their_masks_when_joined(tmp_path):
    bert = tj.BertConfig(
        vocab_size=31,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=24,
    )
    model = tj.from_config(bert, head="none", key=jax.random.key(0), mask=Near(2, 2))
    model.save_pretrained(tmp_path / "encoder")
    gpt2(1, mask=~(~OWN) & Near(left=4)).save_pretrained(tmp_path / "decoder")
    pair = tj.EncoderDecoderModel.from_encoder_decoder_pretrained(
        tmp_path / "encoder", tmp_path / "decoder", key=jax.random.key(0)
    )
    pair.save_pretrained(tmp_path / "pair")
    for joined in (pair, tj.from_pretrained(tmp_path / "pair")):
        assert joined.encoder.masks("self") == [Near(2, 2)]
        assert joined.decoder.masks("self") == [CAUSAL & Near(left=4)]


def test_convert_copies_the_mask_and_inspect_shows_it(tmp_path):
    from transformers_jax.inspection.conversion import convert
    from transformers_jax.inspection.description import describe

    gpt2(mask=[OWN, PREFIX]).save_pretrained(tmp_path / "from")
    convert(tmp_path / "from", tmp_path / "to")
    assert saved_mask(tmp_path / "to") == {"mask": "[OWN, CAUSAL | Where('prefix')]"}
    shown = describe(tmp_path / "to")
    assert shown.fits
    assert [dict(layer.masks)["self"] for layer in shown.layers] == ["CAUSAL", str(PREFIX)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ({"mask": "CAUSUL"}, r"key 'transformers_jax'.*'CAUSUL' is unknown.*take the key out"),
        ({"mask": {"middle": "CAUSAL"}}, r"key 'transformers_jax'.*'encoder'"),
        ({"mask": "[CAUSAL]"}, r"1 entries.*2 layers"),
        ({"masks": "CAUSAL"}, r"expected only the key 'mask', got \['masks'\]"),
        ({"mask": 3}, "3 came"),
        ("CAUSAL", "transformers_jax should be a dict or None, not 'CAUSAL'"),
    ],
)
def test_a_mask_that_cannot_be_read_is_one_clear_error(text, why, tmp_path):
    gpt2().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "transformers_jax": text}))
    with pytest.raises(ValueError, match=why):
        tj.from_pretrained(tmp_path)


# ---------------------------------------------------------------- masks per layer


def test_layers_with_masks_of_their_own_compute_what_layers_of_two_models_do(tmp_path):
    a, b = CAUSAL & Near(left=2), PREFIX
    plain = gpt2()
    mixed = plain.with_mask([a, b])
    states = mixed(input_ids=IDS, tags=TAGS, output_hidden_states=True).hidden_states
    first = plain.with_mask(a)(input_ids=IDS, output_hidden_states=True).hidden_states
    np.testing.assert_array_equal(states[1], first[1])
    # only the second layer, over the output of the first
    second = plain.with_mask(b).with_layers("list")
    context = second.stack._context(*(_nodes(TAGS), None, {}, None, frozenset()))
    x = second.stack.blocks[1]({TOKENS: first[1]}, context)[0][TOKENS]
    np.testing.assert_allclose(second.stack.norm(x), states[2], rtol=1e-5, atol=1e-5)
    other = plain.with_mask([b, a])(input_ids=IDS, tags=TAGS).logits
    assert np.abs(np.asarray(other) - logits(mixed, tags=TAGS)).max() > 1e-3  # the control
    mixed.save_pretrained(tmp_path)
    again = tj.from_pretrained(tmp_path)
    np.testing.assert_array_equal(logits(again, tags=TAGS), logits(mixed, tags=TAGS))
    loaded = tj.from_pretrained(tmp_path, mask=[b, OWN])
    assert loaded.stack.masks("self") == [b]  # layer 1 keeps the mask of the directory


def _nodes(tags):
    from transformers_jax.graph import sequence

    return sequence(9, tags=tags)


def test_masks_of_a_loaded_model_can_be_replaced_and_restored():
    plain = gpt2()
    alike = plain.with_mask([OWN, OWN])
    assert alike.stack.spec == plain.stack.spec
    np.testing.assert_array_equal(logits(alike), logits(plain))
    back = plain.with_mask([FULL, CAUSAL]).with_mask(None)
    np.testing.assert_array_equal(logits(back), logits(plain))
    assert jax.tree.structure(tj.functional(back)[1]) == jax.tree.structure(tj.functional(plain)[1])
    listed = plain.with_layers("list").with_mask([FULL, CAUSAL])
    stacked = plain.with_mask([FULL, CAUSAL])
    np.testing.assert_allclose(logits(listed), logits(stacked), rtol=1e-5, atol=1e-5)
    born = gpt2(mask=[FULL, CAUSAL])  # drawn as without
    np.testing.assert_array_equal(logits(born), logits(stacked))


def test_masks_per_layer_of_two_stacks():
    model = bart(mask={"encoder": [OWN, Near(1, 1)], "decoder": [CAUSAL & Near(left=1), OWN]})
    assert model.encoder.masks("self") == [FULL, Near(1, 1)]
    assert model.decoder.masks("self") == [CAUSAL & Near(left=1), CAUSAL]
    assert np.isfinite(logits(model)).all()


def test_masks_for_another_number_of_layers_are_refused():
    with pytest.raises(ValueError, match=r"has 3 entries, one per layer, but .* 2 layers"):
        gpt2().with_mask([CAUSAL, FULL, OWN])
    with pytest.raises(ValueError, match="a list of masks, one per layer"):
        gpt2().with_mask([CAUSAL, None])
    with pytest.raises(ValueError, match="a list of masks, one per layer"):
        gpt2().with_mask([])
    shared = tj.AlbertConfig(
        vocab_size=31, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, embedding_size=8,
    )  # fmt: skip
    with pytest.raises(ValueError, match="share their parameters"):
        Plan(shared).build().with_mask([FULL, CAUSAL])


def test_a_run_exports_the_mask_of_its_objective_without_that_of_packed_rows(tmp_path):
    from types import SimpleNamespace

    from transformers_jax.objectives import CausalLM, PrefixLM
    from transformers_jax.training.finish import exportable

    for objective, mask in ((PrefixLM(), PREFIX), (CausalLM(), CAUSAL)):
        trained = gpt2(mask=objective.mask(packed=True))
        assert trained.stack.masks("self") == [mask & Same("document")]
        run = SimpleNamespace(
            model=trained,
            config=SimpleNamespace(objective=objective),
            averaged=lambda state: tj.functional(state)[1],
        )
        exportable(run, trained).save_pretrained(tmp_path / str(mask))
        assert tj.from_pretrained(tmp_path / str(mask)).stack.masks("self") == [mask]


def test_a_mask_saved_in_a_towers_config_is_that_of_the_whole_model():
    sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12)
    saved_mask = {"mask": str(FULL)}
    text = tj.CLIPTextConfig(**sizes, vocab_size=31, transformers_jax=saved_mask)
    vision = tj.CLIPVisionConfig(**sizes, image_size=8, patch_size=4)
    config = tj.CLIPConfig(text_config=text, vision_config=vision)
    plain = config.replace(text_config=text.replace(transformers_jax=None))  # the control
    for one, mask in ((config, FULL), (plain, CAUSAL)):
        model = tj.from_config(one, key=jax.random.key(0))
        assert model.towers["text"].stack.masks("self") == [mask]
