"""What the kin of BART do that BART does not: words, positions and beginnings of their own."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import transformers_jax as tj
from transformers_jax.generation.processors.values import LogitNormalization
from transformers_jax.graph import sequence
from transformers_jax.models import config_class
from transformers_jax.models.base import Plan
from transformers_jax.nn.embed import EmbedSpec, TokenEmbedder
from transformers_jax.nn.param import bind, flatten, params, unflatten
from transformers_jax.nn.sinusoidal import Sinusoids, sinusoids
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import Execution

CASES = Path(__file__).parent.parent / "conformance" / "cases"
TINY = dict(
    vocab_size=53,
    d_model=12,
    encoder_layers=1,
    decoder_layers=2,
    encoder_attention_heads=3,
    decoder_attention_heads=2,
    encoder_ffn_dim=14,
    decoder_ffn_dim=10,
    max_position_embeddings=17,
)


def filled(module, seed=0):
    """The module with random numbers for parameters."""
    rng = np.random.default_rng(seed)
    draw = lambda leaf: jnp.asarray(0.3 * rng.normal(size=leaf.shape), jnp.float32)
    return bind(module, jax.tree.map(draw, params(module)))


def tiny(values, head="seq2seq_lm"):
    """A random model of a config.json."""
    config = config_class(values).from_dict({**TINY, **values})
    return filled(Plan(config, head, Execution(unroll=False)).build())


# ---------------------------------------------------------------- words


TABLES = {
    "model.shared.weight",
    *(f"model.{s}.embed_tokens.weight" for s in ("encoder", "decoder")),
}


@pytest.mark.parametrize("family", ["bart", "marian"])
def test_untied_embeddings_are_four_tables_in_a_file(family, tmp_path):
    model = tiny({"model_type": family, "tie_word_embeddings": False})
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored.keys() >= {*TABLES, "lm_head.weight"}
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is False
    again = flatten(params(tj.from_pretrained(tmp_path)))
    for path, array in flatten(params(model)).items():
        assert np.array_equal(again[path], array), path


SHARED, ENCODER, DECODER, OUT = "model.shared.weight", *sorted(TABLES)[1::-1], "lm_head.weight"


@pytest.mark.parametrize("family", ["bart", "pegasus"])
@pytest.mark.parametrize(
    ("words", "tied", "reads"),
    [  # seeds of the tables in the file; those that encoder, decoder and output read
        ({SHARED: 1}, True, (1, 1, 1)),
        ({ENCODER: 2, DECODER: 3}, True, (2, 3, 3)),
        ({SHARED: 1, ENCODER: 2}, True, (2, 1, 1)),
        ({SHARED: 1, DECODER: 3}, True, (1, 3, 1)),
        ({SHARED: 1, ENCODER: 1, DECODER: 3}, True, (1, 3, 1)),
        ({SHARED: 1, ENCODER: 2, DECODER: 3}, True, (2, 3, 1)),
        ({SHARED: 1, ENCODER: 2, DECODER: 3, OUT: 4}, True, (2, 3, 4)),
        ({SHARED: 1, ENCODER: 2, DECODER: 3, OUT: 4}, False, (2, 3, 4)),
        ({SHARED: 1, ENCODER: 1, DECODER: 1, OUT: 4}, False, (1, 1, 4)),
        ({ENCODER: 2, DECODER: 3, OUT: 4}, False, (2, 3, 4)),
        ({SHARED: 1, OUT: 4}, False, (1, 1, 4)),
    ],
)
def test_each_side_reads_its_own_embeddings_where_they_are_stored(family, words, tied, reads):
    same = lambda a, b: words[a] == words[b] if {a, b} <= words.keys() else None
    values = {**TINY, "model_type": family, "tie_word_embeddings": tied}
    config = config_class(values).from_dict(values).resolved(same)
    model, table = Plan(config, "seq2seq_lm").build(), config.table("seq2seq_lm")
    ours = {path: leaf.shape for path, leaf in flatten(params(model)).items()}
    theirs = {name: fill.shape for name, fill in table.fills(ours).items()}
    theirs = {n: x for n, x in theirs.items() if n not in {*TABLES, OUT}} | dict.fromkeys(
        words, (53, 12)
    )
    tables = {f.row.ours[0]: words.get(f.name) for f in table.check(theirs, ours).fills}
    read = tables["embed.table"]
    target = tables.get("decoder_embed.table", read)
    tie = read if model.output_of == "encoder" else target
    assert (read, target, tables.get("head.table", tie)) == reads


def test_files_of_v4_share_the_embeddings_that_they_call_untied(tmp_path):
    tiny({"model_type": "bart", "tie_word_embeddings": False}).save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    fewer = {n: x for n, x in stored.items() if n == "model.shared.weight" or n not in TABLES}
    save_file(fewer, tmp_path / "model.safetensors", {"format": "pt"})
    model = tj.from_pretrained(tmp_path)
    assert model.config.own_words == ()
    assert np.array_equal(model.embed.table[...], stored["model.shared.weight"])
    assert np.array_equal(model.head.table[...], stored["lm_head.weight"])


def test_source_and_target_may_have_vocabularies_of_their_own(tmp_path):
    apart = {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 41}
    model = tiny({"model_type": "marian", "pad_token_id": 40, **apart})
    assert model.embed.table.shape == (53, 12)
    assert model.decoder_embed.table.shape == (41, 12)
    model.save_pretrained(tmp_path)
    names = set(load_file(tmp_path / "model.safetensors"))
    assert names & {*TABLES, "lm_head.weight"} == TABLES - {"model.shared.weight"}
    with pytest.raises(ValueError, match=r"labels\[0, 1\] is 41; expected -100 .* \[0, 41\)"):
        model(input_ids=[[52, 3]], decoder_input_ids=[[1, 2]], labels=[[1, 41]])


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_inputs_embeds_are_scaled_by_two_decoders_only(side):
    kin = ["bart", "mbart", "m2m_100", "marian", "pegasus", "blenderbot", "blenderbot-small"]
    scaled = {"marian", "pegasus"} if side == "decoder" else set()  # as transformers does
    for family in kin:
        values = {**TINY, "model_type": family, "scale_embedding": True}
        embed = TokenEmbedder(config_class(values).from_dict(values).embed(side == "decoder"))
        embedded = embed.scaled(jnp.ones((1, 2, 12)), jnp.float32)
        assert jnp.allclose(embedded, 12**0.5 if family in scaled else 1.0), family


def test_the_padding_embedding_gets_no_gradient():
    embed = TokenEmbedder(EmbedSpec(vocab=7, width=3, padding_idx=2))
    ids = jnp.array([[2, 5, 2, 1]])

    def total(table):
        return bind(embed, {"table": table}).embed_ids(ids, jnp.float32).sum()

    learned = jax.grad(total)(jnp.ones((7, 3))).any(axis=1)
    assert learned.tolist() == [False, True, False, False, False, True, False]


# ---------------------------------------------------------------- positions


@pytest.mark.parametrize("width", [6, 7])
def test_waves_are_those_of_the_formulas(width):
    position = np.arange(11)[:, None]
    pair = 1e4 ** (-2 * (np.arange(width) // 2) / width)
    angles = position * pair
    alternate = np.where(np.arange(width) % 2, np.cos(angles), np.sin(angles))
    halves = np.concatenate([np.sin(angles[:, ::2]), np.cos(angles[:, 1::2])], 1)
    last = position * np.exp(-np.arange(3) * np.log(1e4) / 2)  # 1, 1/100, 1/10000
    closed = np.concatenate([np.sin(last), np.cos(last), np.zeros((11, width - 6))], 1)
    for kind, expected in (
        (Sinusoids(), alternate),
        (Sinusoids(halves=True, rows=11), halves),
        (Sinusoids(halves=True, closed=True), closed),
    ):
        waves = sinusoids(kind, width, np.arange(11)[None])
        np.testing.assert_allclose(waves[0], expected, atol=1e-6)
    beyond = sinusoids(Sinusoids(halves=True, rows=11), width, np.array([[10, 11]]))
    assert np.isnan(beyond[0, 1]).all()
    assert not np.isnan(beyond[0, 0]).any()


def test_m2m_counts_what_is_no_padding():
    embed = filled(TokenEmbedder(tj.M2M100Config(**TINY, dropout=0.0).embed(decoder=False)))
    words = lambda ids: embed.embed_ids(jnp.array(ids), jnp.float32)
    zero = jnp.zeros((1, 4, 12))
    ids = jnp.array([[7, 1, 9, 8]])  # 1 is padding
    counted = embed({"input_ids": ids}, dtype=jnp.float32).nodes
    added = embed.embedded(zero, counted)[0]
    straight = embed.embedded(zero, sequence(4))[0]
    assert not added[1].any()  # the padding has no position
    np.testing.assert_array_equal(added[jnp.array([0, 2, 3])], straight[:3])
    assert np.abs(added[2] - straight[2]).max() > 0.1  # the control: not its index in the row
    assert words(ids).shape == (1, 4, 12)


def test_a_stored_table_that_is_not_the_formulas_is_refused(tmp_path):
    folder = shutil.copytree(CASES / "pegasus", tmp_path / "pegasus")
    stored = load_file(folder / "model.safetensors")
    name = "model.decoder.embed_positions.weight"
    stored[name] = stored[name] + np.float32(0.01)
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=rf"{name} is a fixed table"):
        tj.from_pretrained(folder)
    del stored[name]  # early releases do not hold it
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    assert tj.from_pretrained(folder).config.model_type == "pegasus"


# ---------------------------------------------------------------- beginnings, layers, ends


def test_a_row_of_mbart_begins_with_the_code_of_its_language():
    labels = jnp.array([[5, 6, 2, 44], [7, 2, 45, -100]])  # the code is at the end
    shifted = lambda family: tiny({"model_type": family}).shift.shifted(None, labels).tolist()
    assert shifted("mbart") == [[44, 5, 6, 2], [45, 7, 2, 45]]
    assert shifted("bart") == [[2, 5, 6, 2], [2, 7, 2, 45]]  # the control


def test_a_decoder_without_encoder_stores_its_cross_attention_and_does_not_use_it():
    model = tiny({"model_type": "bart"}, "causal_lm")
    ids = np.array([[4, 9, 30, 2]])
    logits = model(input_ids=ids).logits

    def changed(part):
        values = flatten(params(model))
        return {n: x + 0.5 if f".{part}." in n else x for n, x in values.items()}

    again = lambda part: bind(model, unflatten(changed(part)))(input_ids=ids).logits
    assert np.array_equal(again("cross"), logits)
    assert not np.allclose(again("self"), logits)  # the control


def test_a_decoder_without_encoder_numbers_columns_and_not_tokens():
    model = tiny({"model_type": "bart"}, "causal_lm")
    row = {"input_ids": [[1, 1, 1, 4, 9, 30]], "attention_mask": [[0, 0, 0, 1, 1, 1]]}
    options = dict(max_new_tokens=2, return_dict_in_generate=True, output_scores=True)
    first = tj.generate(model, **row, **options)["scores"][0]
    np.testing.assert_allclose(first, model(**row).logits[:, -1], rtol=1e-4, atol=1e-5)
    bare = model(input_ids=[[4, 9, 30]]).logits[:, -1]
    assert np.abs(first - bare).max() > 1e-2  # the control


def test_layerdrop_leaves_out_whole_layers_and_only_with_a_key():
    config = tj.M2M100Config(**TINY, dropout=0.0, attention_dropout=0.0, encoder_layerdrop=1.0)
    stack = filled(Stack(config.spec(False, tj.FULL), Execution(unroll=False)))
    x = jnp.asarray(np.random.default_rng(1).normal(size=(1, 5, 12)), jnp.float32)
    dropped = stack(x, sequence(5), key=jax.random.key(0)).x
    np.testing.assert_array_equal(dropped, stack.norm(x))
    assert np.abs(stack(x, sequence(5)).x - dropped).max() > 0.1


def test_what_is_left_after_a_ban_is_a_distribution_again():
    scores = jnp.log(jnp.array([[0.5, 0.25, 0.25]])).at[0, 0].set(-1e30)
    np.testing.assert_allclose(
        jnp.exp(LogitNormalization().process(None, scores)), [[0.0, 0.5, 0.5]], atol=1e-6
    )


HUB = {  # what files of the hub hold besides the fields
    "bart": {"normalize_before": False, "extra_pos_embeddings": 2, "add_bias_logits": False},
    "mbart": {"normalize_before": True, "add_final_layer_norm": True, "_num_labels": 3},
    "m2m_100": {"decoder_layerdrop": 0, "num_hidden_layers": 12},
    "marian": {"static_position_embeddings": True, "extra_pos_embeddings": 58101},
    "pegasus": {"static_position_embeddings": True, "extra_pos_embeddings": 1},
    "blenderbot": {"layernorm_variant": "prelayernorm", "do_blenderbot_90_layernorm": False},
    "blenderbot-small": {"layernorm_variant": "xlm", "do_blenderbot_90_layernorm": True},
}


@pytest.mark.parametrize("family", HUB)
def test_switches_of_early_releases_are_read_or_refused_by_name(family):
    values = {"model_type": family, "classif_dropout": 0.0, **HUB[family]}
    read = config_class(values).from_dict
    assert read(values).classifier_dropout == 0.0
    with pytest.raises(ValueError, match="add_bias_logits=True is not implemented"):
        read({**values, "add_bias_logits": True})
