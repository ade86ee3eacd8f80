"""BERT's kin: configs and files as the hub has them, and where each differs from BERT."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import transformers_jax as tj
from transformers_jax.models import load_config
from transformers_jax.models.base import Plan
from transformers_jax.nn.feedforward import activation
from transformers_jax.nn.param import flatten, params
from transformers_jax.nn.pooling import pool
from transformers_jax.objectives.losses import objective

CASES = Path(__file__).parent.parent / "conformance" / "cases"
TINY = dict(
    vocab_size=53,
    hidden_size=20,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=28,
    max_position_embeddings=37,
)
BERT = dict(
    attention_probs_dropout_prob=0.1,
    gradient_checkpointing=False,
    hidden_act="gelu",
    hidden_dropout_prob=0.1,
    hidden_size=768,
    initializer_range=0.02,
    intermediate_size=3072,
    layer_norm_eps=1e-5,
    max_position_embeddings=514,
    num_attention_heads=12,
    num_hidden_layers=12,
    transformers_version="4.17.0.dev0",
)
FAIRSEQ = dict(
    BERT,
    bos_token_id=0,
    eos_token_id=2,
    output_past=True,
    pad_token_id=1,
    position_embedding_type="absolute",
    type_vocab_size=1,
    use_cache=True,
)
DISTILBERT = dict(
    model_type="distilbert",
    activation="gelu",
    attention_dropout=0.1,
    dim=768,
    dropout=0.1,
    hidden_dim=3072,
    initializer_range=0.02,
    max_position_embeddings=512,
    n_heads=12,
    n_layers=6,
    pad_token_id=0,
    qa_dropout=0.1,
    seq_classif_dropout=0.2,
    sinusoidal_pos_embds=False,
    tie_weights_=True,
    transformers_version="4.10.0.dev0",
    vocab_size=30522,
)
HUB = {  # what config.json says in well-known repositories
    "distilbert-base-uncased": DISTILBERT,
    "distilbert-base-uncased-finetuned-sst-2-english": dict(
        DISTILBERT,
        finetuning_task="sst-2",
        id2label={"0": "NEGATIVE", "1": "POSITIVE"},
        label2id={"NEGATIVE": 0, "POSITIVE": 1},
        output_past=True,
        _num_labels=2,
        eos_token_ids=None,
        xla_device=None,
    ),
    "ms-marco-MiniLM-L6-v2": dict(
        BERT,
        model_type="bert",
        id2label={"0": "LABEL_0"},
        label2id={"LABEL_0": 0},
        pad_token_id=0,
        position_embedding_type="absolute",
        sbert_ce_default_activation_function="torch.nn.modules.linear.Identity",
        sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity"},
        type_vocab_size=2,
        use_cache=True,
        vocab_size=30522,
    ),
    "roberta-base-squad2": dict(
        FAIRSEQ, model_type="roberta", language="english", name="Roberta", vocab_size=50265
    ),
    "xlm-roberta-base": dict(FAIRSEQ, model_type="xlm-roberta", vocab_size=250002),
    "camembert-base": dict(FAIRSEQ, model_type="camembert", vocab_size=32005, eos_token_id=6),
    "all-mpnet-base-v2": dict(
        BERT,
        model_type="mpnet",
        _name_or_path="microsoft/mpnet-base",
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
        relative_attention_num_buckets=32,
        vocab_size=30527,
    ),
    "albert-base-v2": dict(
        BERT,
        model_type="albert",
        attention_probs_dropout_prob=0,
        bos_token_id=2,
        classifier_dropout_prob=0.1,
        down_scale_factor=1,
        embedding_size=128,
        eos_token_id=3,
        gap_size=0,
        inner_group_num=1,
        net_structure_type=0,
        num_hidden_groups=1,
        num_memory_blocks=0,
        pad_token_id=0,
        position_embedding_type="absolute",
        type_vocab_size=2,
        vocab_size=30000,
    ),
    "roformer_chinese_base": dict(
        BERT,
        model_type="roformer",
        embedding_size=768,
        eos_token_id=102,
        max_position_embeddings=1536,
        pad_token_id=0,
        rotary_value=False,
        type_vocab_size=2,
        use_cache=True,
        vocab_size=50000,
    ),
}


@pytest.mark.parametrize("name", HUB)
def test_configs_of_the_hub_are_read_and_written_back(name):
    config = load_config(HUB[name])
    written = config.to_dict()
    assert load_config(written) == config
    assert {key: HUB[name][key] for key in HUB[name] if key in written} == {
        key: written[key] for key in HUB[name] if key in written
    }
    with pytest.raises(ValueError, match="unknown key 'shared_layers'"):
        load_config({**HUB[name], "shared_layers": 3})


def test_options_a_family_does_not_have_are_no_fields_of_its_config():
    for kind in (tj.MPNetConfig, tj.AlbertConfig, tj.RoFormerConfig):
        assert "classifier_dropout" not in kind().to_dict()
    for kind in (tj.MPNetConfig, tj.AlbertConfig, tj.DistilBertConfig):
        assert "is_decoder" not in kind().to_dict()
        with pytest.raises(ValueError, match="is_decoder=True is not implemented"):
            kind.from_dict({"is_decoder": True})
    with pytest.raises(ValueError, match="unknown key 'type_vocab_size'"):
        tj.MPNetConfig.from_dict({"type_vocab_size": 2})


def resaved(name, folder, change, extra=()):
    """A case with other names in its file, and more tensors."""
    tensors = {change(key): x for key, x in load_file(CASES / name / "model.safetensors").items()}
    save_file({**tensors, **dict(extra)}, folder / "model.safetensors")
    (folder / "config.json").write_bytes((CASES / name / "config.json").read_bytes())
    return folder


TENSORFLOW = lambda key: key.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("distilbert-mlm", "distilbert."), ("mpnet-mlm", "mpnet."), ("albert-mlm", "albert.")],
)
def test_older_files_are_the_same_model(name, prefix, tmp_path):
    here = load_file(CASES / name / "model.safetensors")
    words = here[f"{prefix}embeddings.word_embeddings.weight"]
    output = tj.from_pretrained(CASES / name).config.ties[0].copy
    extra = {output: words, f"{prefix}embeddings.position_ids": np.arange(40)[None]}
    older = resaved(name, tmp_path, lambda key: TENSORFLOW(key.removeprefix(prefix)), extra.items())
    expected, actual = (tj.functional(tj.from_pretrained(x))[1] for x in (CASES / name, older))
    assert jax.tree.all(jax.tree.map(np.array_equal, actual, expected))


@pytest.mark.parametrize("kind", [tj.BertConfig, tj.RobertaConfig, tj.AlbertConfig])
def test_the_bias_of_an_untied_output_is_stored_once_by_v4(kind):
    config = kind(**TINY, tie_word_embeddings=False)
    plan = Plan(config, "masked_lm")
    ours = {path: leaf.shape for path, leaf in flatten(params(plan.build())).items()}
    shapes = {name: fill.shape for name, fill in plan.table.fills(ours).items()}
    output, (bias, decoder) = config.ties[0].copy, (config.ties[1].name, config.ties[1].copy)
    report = plan.table.check({n: s for n, s in shapes.items() if n != decoder}, ours)
    assert {f.canonical: f.name for f in report.fills}[decoder] == bias
    with pytest.raises(ValueError, match=output):  # the control: the table itself was not shared
        plan.table.check({n: s for n, s in shapes.items() if n not in (decoder, output)}, ours)


@pytest.mark.parametrize("kind", [tj.XLMRobertaConfig, tj.CamembertConfig])
def test_kin_of_roberta_have_its_names_and_heads(kind):
    roberta = tj.RobertaConfig()
    assert set(kind.HEADS.values()) == set(roberta.HEADS.values())
    for head in roberta.HEADS.values():
        assert kind().table(head) == roberta.table(head)


def test_mpnet_counts_by_the_padding_and_the_buckets_it_was_trained_with():
    config = tj.MPNetConfig(**TINY, pad_token_id=0, relative_attention_num_buckets=40)
    assert (config.embed().padding, config.embed().offset) == (1, 2)
    score = config.spec().score
    assert (score.buckets, score.rows) == (32, 40)
    with pytest.raises(ValueError, match=r"relative_attention_num_buckets \(16\) must be at least"):
        config.replace(relative_attention_num_buckets=16).spec()


def test_albert_applies_groups_of_layers():
    config = tj.AlbertConfig(
        **{**TINY, "num_hidden_layers": 5}, num_hidden_groups=3, inner_group_num=2
    )
    assert config.spec().order == (0, 1, 0, 1, 2, 3, 2, 3, 4, 5)
    assert len(config.spec().blocks) == 6
    assert tj.AlbertConfig(**TINY).spec().order == (0, 0)


def test_distilbert_may_begin_with_sinusoids():
    config = tj.DistilBertConfig(
        vocab_size=9, dim=4, n_heads=2, n_layers=1, hidden_dim=8, max_position_embeddings=7
    )
    waves, plain = (
        tj.from_config(config.replace(sinusoidal_pos_embds=on), key=jax.random.key(0))
        for on in (True, False)
    )
    expected = [0.841471, 0.540302, 0.010000, 0.999950]  # sin 1, cos 1, sin 1/100, cos 1/100
    np.testing.assert_allclose(waves.embed.position[...][1], expected, atol=1e-6)
    assert np.abs(plain.embed.position[...]).max() < 0.2


def test_stored_positions_of_roformer_must_match_their_formula(tmp_path):
    name = "roformer.encoder.embed_positions.weight"
    wrong = load_file(CASES / "roformer-mlm" / "model.safetensors")[name] + np.float32(0.1)
    folder = resaved("roformer-mlm", tmp_path, lambda key: key, {name: wrong}.items())
    with pytest.raises(ValueError, match="embed_positions"):
        tj.from_pretrained(folder)


def test_what_roformer_cannot_do_is_refused_by_name():
    with pytest.raises(ValueError, match=r"hidden_size \(20\) / num_attention_heads \(4\) = 5"):
        tj.RoFormerConfig(**{**TINY, "num_attention_heads": 4})
    config = tj.RoFormerConfig(**TINY, summary_type="attn")
    with pytest.raises(ValueError, match="multiple_choice with summary_type='attn'"):
        config.head("multiple_choice")
    assert config.head("masked_lm") is not None


@pytest.mark.parametrize("kind", [tj.ElectraConfig, tj.RoFormerConfig])
@pytest.mark.parametrize(
    ("how", "weights"), [("first", (1, 0)), ("last", (0, 1)), ("mean", (0.5, 0.5))]
)
def test_choices_are_summarised_as_the_config_says(kind, how, weights):
    x, padded = jnp.array([[[-3.0, 1.0], [5.0, 2.0]]]), jnp.array([[True, False]])
    bare = dict(summary_type=how, summary_use_proj=False, summary_activation="relu")
    head = kind(**TINY, **bare).head("multiple_choice")
    pooled = head.inner(pool(x, head.pooling, padded))
    assert np.array_equal(pooled[0], np.maximum(weights @ np.asarray(x[0]), 0))
    projected = kind(**TINY, **{**bare, "summary_use_proj": True})
    for config, stored in ((kind(**TINY, **bare), False), (projected, True)):
        assert ("sequence_summary" in config.head_rows("multiple_choice", True)) == stored


def test_roformer_with_rotary_values_generates_by_column_positions():
    config = tj.RoFormerConfig(**TINY, rotary_value=True, is_decoder=True, pad_token_id=0)
    model = tiny(config, "causal_lm")
    prompt, options = np.array([[0, 0, 5, 6, 7]]), dict(max_new_tokens=4, eos_token_id=None)
    mask = (prompt > 0).astype(np.int32)
    written = np.asarray(model.generate(input_ids=prompt, attention_mask=mask, **options))
    full_mask = np.concatenate([mask, np.ones((1, 4), np.int32)], 1)
    logits = model(input_ids=written, attention_mask=full_mask).logits
    assert np.array_equal(np.argmax(logits[0, 4:-1], -1), written[0, 5:])
    # the control: without the padding it has other positions, and other rotations of values
    apart = model(input_ids=written[:, 2:]).logits
    assert np.abs(apart[0] - logits[0, 2:]).max() > 1e-2


@pytest.mark.parametrize(
    ("name", "values"),  # PyTorch's, at -1, 0.5 and 2
    [("laplace", (0.0, 0.2314211, 0.9999977)), ("sqrtsoftplus", (0.5596979, 0.9869534, 1.4583992))],
)
def test_rare_activations_are_pytorchs(name, values):
    np.testing.assert_allclose(activation(name)(jnp.array([-1, 0.5, 2])), values, atol=1e-6)


def tiny(config, head):
    """A tiny model with parameters of order one."""
    model = tj.from_config(config, head=head, key=jax.random.key(0), unroll=False)
    params = tj.functional(model)[1]
    return tj.bind(model, jax.tree.map(lambda x: 7 * x, params))


@pytest.mark.parametrize("position_ids", [None, np.array([[2, 3, 4, 1], [0, 3, 4, 5]], np.int32)])
def test_the_padding_embedding_gets_no_gradient_from_inputs(position_ids):
    apply, params = tj.functional(tiny(tj.RobertaConfig(**TINY), "question_answering"))
    ids = np.array([[5, 6, 7, 1], [8, 9, 2, 3]], np.int32)
    positions = dict(start_positions=np.array([1, 2]), end_positions=np.array([2, 3]))
    loss = lambda p: apply(p, input_ids=ids, position_ids=position_ids, **positions).loss
    gradients = jax.jit(jax.grad(loss))(params)["embed"]
    for table, read in (("table", 5), ("position", 2)):
        assert not gradients[table][1].any()
        assert gradients[table][read].any()
    assert gradients["position"][0].any() == (position_ids is not None)


def test_the_objective_of_two_sentences_trains_albert():
    model = tiny(tj.AlbertConfig(**TINY, embedding_size=12), "pretraining")
    rng = np.random.default_rng(0)
    ids = rng.integers(3, 53, (2, 7)).astype(np.int32)
    labels = np.where(ids % 3, -100, ids).astype(np.int32)
    batch = {"input_ids": ids, "labels": labels, "next_sentence_label": np.array([1, 0])}
    loss, metrics = objective("pretraining")(model, batch, None)
    expected = model(input_ids=ids, labels=labels, sentence_order_label=np.array([1, 0])).loss
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    other = model(input_ids=ids, labels=labels, sentence_order_label=np.array([0, 1])).loss
    assert abs(other - expected) > 1e-3  # the control
    assert int(metrics["loss"]["next_sentence"][1]) == 2
