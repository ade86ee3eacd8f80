"""Calls typed by mistake, or as in other libraries, raise an error that says what to type."""

import jax
import numpy as np
import optax
import pytest

import transformers_jax as tj
from transformers_jax.models.output import Output
from transformers_jax.shard import shardings
from transformers_jax.spec import Execution

SMALL = tj.GPT2Config(vocab_size=32, n_positions=16, n_embd=24, n_layer=1, n_head=4)
IDS = np.array([[3, 4, 5]])


@pytest.fixture(scope="module")
def model():
    return tj.from_config(SMALL, head="causal_lm", key=jax.random.key(0))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, p: m(input_ids=[[]]), r"input_ids is empty \(shape \(1, 0\)\)"),
        (lambda m, p: tj.score(m, [[4, 5], [6]]), "to one width and give attention_mask, 1 for"),
        (lambda m, p: m(IDS, tags=IDS), "tags is ndarray; expected a dict of arrays"),
        (lambda m, p: m(IDS, cache=p), "cache is dict; expected what tj.init_cache"),
        (lambda m, p: m(IDS, key=np.ones(3, int)), r"key is int64\[3\]; expected one key"),
        (lambda m, p: m(IDS, output_attentions="yes"), "is 'yes'; expected True or False"),
        (lambda m, p: m(IDS, return_dict=True), "no argument 'return_dict'; the output is always"),
        (lambda m, p: m.train(), "no training mode: a call with key="),
        (lambda m, p: jax.jit(tj.functional(m)[0])(p, input_ids=[[3, 4]]), "give an array"),
        (lambda m, p: tj.functional(p), "functional takes a model.*dict came; tj.bind"),
        (lambda m, p: tj.save_pretrained(p, "x"), "save_pretrained takes a model"),
        (lambda m, p: tj.generate(None, IDS), "generate takes a model"),
        (lambda m, p: tj.generate(m, IDS, do_sample=True, key=1), r"key=jax\.random\.key\(1\)"),
        (lambda m, p: tj.score(p, IDS), "score takes a model"),
        (lambda m, p: tj.features(p, IDS), "features takes a model"),
        (lambda m, p: tj.features(m, IDS, layer="last"), "layer 'l': there are 0"),
        (lambda m, p: tj.features(m, IDS, atention_mask=IDS), "did you mean 'attention_mask'"),
        (lambda m, p: tj.bind(m, m), "expected nested dicts.* Network came"),
        (lambda m, p: tj.bind(m, {"embed": p["embed"]}), "missing stack.norm.scale"),
        (
            lambda m, p: tj.bind(m, jax.tree.map(lambda x: x[:1], p)),
            r"embed.table has shape \(1, 24\), expected \(32, 24\)",
        ),
        (lambda m, p: tj.similarity("a", "b"), "a holds no numbers"),
        (lambda m, p: tj.init_cache(m, 1.5, 4), "init_cache: batch=1.5: expected a whole number"),
        (lambda m, p: tj.init_cache(m, 1, 0), "init_cache: length=0: expected a whole number"),
    ],
)
def test_an_error_about_a_call_says_what_to_type(model, call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call(model, tj.functional(model)[1])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tj.from_config(None, key=jax.random.key(0)), "a hub id; NoneType came"),
        (lambda: tj.from_config(SMALL, key="x"), "key is 'x'; expected one key"),
        (lambda: tj.from_config(SMALL, key=jax.random.split(jax.random.key(0))), "one key"),
        (lambda: tj.from_config(SMALL, key=jax.random.key(0), dtype="float64"), "with 32 bits"),
        (lambda: tj.from_config(SMALL, key=jax.random.key(0), torch_dtype="f"), "is dtype= here"),
        (lambda: tj.from_config(SMALL, key=jax.random.key(0), head=3), "head=3: expected the name"),
        (lambda: tj.from_config(SMALL, key=jax.random.key(0), mesh={"data": 1}), "tj.make_mesh"),
        (lambda: shardings({}, {}, "data"), "mesh='data': expected a mesh"),
        (lambda: tj.make_mesh(2), "mesh 2: expected a size for each axis"),
        (lambda: tj.make_mesh({"data": "1"}), "expected a size for each axis"),
        (lambda: Execution(attention="flash"), "attention='flash': expected one of"),
        (lambda: Execution(unroll="yes"), "unroll='yes': expected one of"),
        (lambda: Execution(compute="float12"), "'float12' is not a floating-point type"),
        (lambda: tj.GPT2Config(n_embd="24"), "n_embd should be a whole number, not '24'"),
        (
            lambda: tj.GPT2Config(resid_pdrop=1.5),
            r"resid_pdrop is 1.5; expected a number in \[0, 1\)",
        ),
        (lambda: tj.BertConfig(hidden_dropout_prob=1.0), r"hidden_dropout_prob is 1.0; expected a"),
        (lambda: tj.GPT2Config(layer_norm_epsilon=-1.0), "layer_norm_epsilon=-1.0: a number"),
        (lambda: tj.GPT2Config(problem_type="regresion"), "problem_type='regresion': expected"),
        (lambda: SMALL.replace(num_labels=0), "num_labels=0: expected a whole number"),
        (lambda: tj.AutoModelForCausalLM.from_config(SMALL, head="none"), "leave it out"),
        (lambda: tj.AutoTokenizer, r"tj\.load_tokenizer\(path\) reads a tokenizer"),
        (lambda: tj.LogitsProcessorList, r"pass a list to generate\(logits_processor=\[...\]\)"),
        (lambda: tj.BertForMaskedLM, r"from_pretrained\(path, head='BertForMaskedLM'\)"),
        (lambda: tj.from_pretraned, "did you mean 'from_pretrained'"),
    ],
)
def test_an_error_about_a_setting_says_what_to_type(make, words):
    with pytest.raises((TypeError, ValueError, AttributeError), match=words):
        make()


def test_configs_are_read_and_written_by_their_own_class(tmp_path):
    written = SMALL.replace(vocab_size=np.int64(40))
    written.save_pretrained(tmp_path / "new")
    assert tj.GPT2Config.from_pretrained(tmp_path / "new") == written
    assert tj.AutoConfig.from_pretrained(tmp_path / "new", num_labels=3).num_labels == 3
    with pytest.raises(ValueError, match="is of gpt2, not bert"):
        tj.BertConfig.from_pretrained(tmp_path / "new")


def test_names_of_labels_are_saved_and_may_not_contradict():
    named = SMALL.replace(num_labels=2, id2label={0: "no", 1: "yes"})
    assert (named.num_labels, dict(named.id2label)) == (2, {"0": "no", "1": "yes"})
    assert SMALL.replace(label2id={"no": 0, "yes": 1}) == named
    for changes, words in (
        (dict(num_labels=3, id2label={0: "no", 1: "yes"}), "num_labels=3, but 2 labels are named"),
        (dict(id2label={0: "no", 1: "yes"}, label2id={"no": 1, "yes": 0}), "different labels"),
        (dict(id2label={1: "no", 5: "yes"}), "a name of its own for each of 0, 1, 2"),
    ):
        with pytest.raises(ValueError, match=words):
            SMALL.replace(**changes)


def test_an_output_can_be_indexed_and_says_how_to_request_more():
    out = Output(loss=None, logits=1, hidden_states=(2, 3))
    assert (out[0], out[-1], out[:1], out.to_tuple()) == (1, (2, 3), (1,), (1, (2, 3)))
    assert "logits" in out
    assert "loss" not in out
    for name, words in (
        ("loss", "give labels="),
        ("decoder_attentions", "give output_attentions=True"),
        ("logit", "did you mean 'logits'"),
    ):
        with pytest.raises(AttributeError, match=words):
            getattr(out, name)
        with pytest.raises(KeyError, match=words):
            out[name]


def test_calls_of_pytorch_users_are_understood(model):
    assert model.eval() is model
    ids = model.generate(IDS, max_new_tokens=0)
    assert np.array_equal(ids, IDS)


def test_a_decoder_head_on_an_encoder_neither_generates_nor_scores():
    sizes = dict(vocab_size=32, hidden_size=24, num_hidden_layers=1, num_attention_heads=4)
    config = tj.BertConfig(**sizes, intermediate_size=16, max_position_embeddings=16)
    build = lambda **options: tj.from_config(
        config, head="causal_lm", key=jax.random.key(0), **options
    )
    for use in (lambda m: m.generate(IDS, max_new_tokens=0), lambda m: tj.score(m, IDS)):
        with pytest.raises(ValueError, match=r"may attend to later ones.*is_decoder=True"):
            use(build())
    for options in (dict(is_decoder=True), dict(mask=tj.CAUSAL)):
        assert np.array_equal(build(**options).generate(IDS, max_new_tokens=0), IDS)


# ---------------------------------------------------------------- values that can be read

ROW = np.array([[3, 4, 5, 6, 7]])
PACKED = np.array([[0, 1, 2, 0, 1]])


def test_packed_positions_without_a_mask_are_refused_with_the_mask_to_use(model):
    message = r"position_ids: positions start anew at \[0, 3\].*mask=tj.OWN & tj.Same\('document'\)"
    for arguments in (dict(position_ids=PACKED), dict(position_ids=PACKED + [[2, 2, 2, 0, 0]])):
        with pytest.raises(ValueError, match=message):
            model(ROW, **arguments)
    with pytest.raises(ValueError, match=r"tags\['position'\]: positions start anew"):
        model(ROW, tags={"position": PACKED})
    with pytest.raises(ValueError, match="positions start anew"):  # closed over, inside of a trace
        jax.eval_shape(lambda ids: model(ids, position_ids=PACKED), ROW)

    # the advice: each document is what it is by itself
    apart = tj.bind(
        tj.from_config(
            SMALL,
            head="causal_lm",
            key=jax.random.key(0),
            mask=tj.OWN & tj.Same("document"),
        ),
        tj.functional(model)[1],
    )
    tags = {"document": np.array([[0, 0, 0, 1, 1]])}
    both = apart(ROW, position_ids=PACKED, tags=tags).logits
    np.testing.assert_allclose(both[:, 3:], model(ROW[:, 3:]).logits, atol=1e-6)


@pytest.mark.parametrize(
    ("positions", "mask"),
    [
        ([[1, 1, 0, 1, 2]], [[0, 0, 1, 1, 1]]),  # padding on the left, filled as transformers does
        ([[0, 0, 0, 1, 2]], [[0, 0, 1, 1, 1]]),
        ([[0, 1, 2, 0, 0]], None),  # filled up with zeros
        ([[0, 1, 2, 0, 1]], [[1, 1, 1, 0, 0]]),
        ([[4, 1, 0, 2, 3]], None),  # a set, its members in another order
        ([[7, 8, 9, 10, 11]], None),
        ([[0, 0, 0, 0, 0]], None),
    ],
)
def test_positions_without_packing_are_accepted(model, positions, mask):
    logits = model(ROW, position_ids=positions, attention_mask=mask).logits
    assert np.isfinite(logits).all()


def test_an_additive_mask_is_never_read_as_one_of_tokens(model):
    additive = np.array([[0, 0, 0, -np.inf, -np.inf]], np.float32)
    with pytest.raises(ValueError, match="attention_mask must hold integers or booleans") as error:
        model(ROW, attention_mask=additive)
    for advice in ("attention_mask > 0.5", "attention_mask == 0"):
        assert advice in str(error.value)
    short = model(ROW[:, :3]).logits
    for mask in (additive == 0, np.array([[1.0, 1.0, 1.0, 0.0, 0.0]]) > 0.5):
        padded = model(ROW, attention_mask=mask).logits
        np.testing.assert_allclose(padded[:, :3], short, atol=1e-6)


def test_a_batch_is_checked_without_a_call_as_far_as_values_are_known(model):
    model.check_batch({"input_ids": ROW, "labels": None, "key": jax.random.key(0)})
    far = {"input_ids": ROW + 30}
    for batch, words in (
        (far, r"input_ids\[0, 0\] is 33, outside the vocabulary"),
        (jax.tree.map(jax.block_until_ready, jax.tree.map(jax.numpy.asarray, far)), "is 33"),
        ({"input_ids": ROW.tolist(), "labels": ROW * 9}, r"labels\[0, 1\] is 36"),
        ({"input_ids": ROW, "labels": ROW[:, :1]}, "labels has shape"),
    ):
        with pytest.raises(ValueError, match=words):
            model.check_batch(batch)
    with pytest.raises(TypeError, match="no argument 'label'"):
        model.check_batch({"input_ids": ROW, "label": ROW})
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), far)
    model.check_batch(shapes)  # arrays without values are not waited for


# ---------------------------------------------------------------- training


def test_an_error_about_a_training_step_says_what_to_type(model):
    params, optimizer = tj.functional(model)[1], optax.sgd(0.1)
    state = jax.eval_shape(lambda key: tj.init_state(model, optimizer, key), jax.random.key(0))
    step = tj.make_step(model, tj.supervised, optimizer)
    batch = {"input_ids": IDS, "labels": IDS}
    for call, words in (
        (lambda: tj.make_step(model, "supervised", optimizer), "objective is 'supervised'"),
        (lambda: tj.make_step(model, tj.supervised, 0.1), "optimizer is 0.1; expected one of"),
        (lambda: tj.make_step(params, tj.supervised, optimizer), "make_step takes a model"),
        (
            lambda: tj.make_step(model, tj.supervised, optimizer, clip=-1),
            "clip=-1: expected a norm",
        ),
        (lambda: tj.make_step(model, tj.supervised, optimizer, accumulate=0), "accumulate=0: exp"),
        (lambda: tj.init_state(model, optimizer, 3), r"give key=jax\.random\.key\(3\)"),
        (lambda: step.trace(params, batch), "expected what tj.init_state gives"),
        (lambda: step.trace(state, (IDS, IDS)), "expected a dict of arrays"),
        (lambda: step.trace(state, {"input_ids": [[3, 4]]}), "input_ids is a list"),
        (lambda: step.trace(state, {"input_ids": IDS * 1.0}), "input_ids must hold integers"),
        (lambda: step.trace(state, {"input_ids": IDS}), "Give the batch labels="),
    ):
        with pytest.raises((TypeError, ValueError, AttributeError), match=words):
            call()
    step.trace(state, batch)
