"""Texts to vectors, from a directory of sentence-transformers and back to one.

`sentences` and what it gives (`outputs.npz`) come from that library: see make_fixtures.py.
"""

import functools
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.embedding.encode import _loaded, chosen_prompt, shape_of
from transformers_jax.nn.sentence import Pool

HERE = Path(__file__).parent
SENTENCES = HERE / "sentences"
CASES = HERE.parent / "conformance" / "cases"
TEXTS = ["The cat sat on the mat.", "a dog", "the dog runs fast and slow and " * 9, "x", "x"]
OWN = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
CLOSE = dict(rtol=0, atol=2e-6)  # float32 sums in another order; values are of the order of one


@functools.cache
def expected():
    return dict(np.load(HERE / "outputs.npz"))


@functools.cache
def model():
    return tj.from_pretrained(SENTENCES, head="embedding", unroll=False)


@functools.cache
def vectors():
    return model().encode(TEXTS)


def model_words():
    return tj.load_tokenizer(SENTENCES)


def copied(folder, files=None, only=None):
    """The directory in another place; `files` are its JSON files with other content."""
    shutil.copytree(SENTENCES, folder)
    for path in list(folder.rglob("*")):
        if only is not None and path.is_file() and path.name not in only:
            path.unlink()
    for name, content in (files or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


def read(name):
    return json.loads((SENTENCES / name).read_text())


# ---------------------------------------------------------------- texts to vectors


def test_texts_become_the_vectors_of_the_reference():
    np.testing.assert_allclose(vectors(), expected()["texts"], **CLOSE)
    with_prompt = model().encode(TEXTS, prompt_name="query")
    np.testing.assert_allclose(with_prompt, expected()["texts_query"], **CLOSE)
    assert (
        np.abs(with_prompt - vectors()).max() > 1e-3
    )  # the prompt is attended to, though it is not pooled


def test_vectors_are_cut_before_they_get_length_one():
    cut = lambda **options: model().encode(TEXTS, truncate_dim=3, **options)
    np.testing.assert_allclose(cut(), expected()["texts_cut_only"], **CLOSE)
    np.testing.assert_allclose(cut(normalize=True), expected()["texts_cut"], **CLOSE)
    prefix = vectors()[:, :3]
    again = prefix / np.linalg.norm(prefix, axis=1, keepdims=True)
    np.testing.assert_allclose(cut(normalize=True), again, **CLOSE)


def test_a_vector_depends_on_neither_order_nor_batch():
    order = [3, 0, 1, 2, 0, 4]
    other = model().encode([TEXTS[n] for n in order])
    np.testing.assert_allclose(other, vectors()[order], **CLOSE)
    long = TEXTS[2] + "."
    apart = model().encode([TEXTS[2], long, TEXTS[2]], batch_size=1)
    one = model().encode(long, output="jax")
    assert one.shape == (8,)
    assert isinstance(one, jax.Array)
    np.testing.assert_allclose(apart, np.stack([vectors()[2], one, vectors()[2]]), **CLOSE)
    assert model().encode([]).shape == (0, 8)


def test_texts_of_any_number_and_length_need_few_shapes():
    shapes = {shape_of(length, rows, 32, 512) for length in range(1, 513) for rows in range(1, 33)}
    assert len({width for width, _ in shapes}) <= 12
    assert {height for _, height in shapes} == {1, 2, 4, 8, 16, 32}
    for length in range(1, 513):
        width, height = shape_of(length, 17, 24, 500)
        assert height == 24
        assert width == 500 if length > 448 else length <= width < length + 64


def test_show_progress_shows_a_progress_bar(capfd):
    model().encode(TEXTS, show_progress=True)
    assert "encoding" in capfd.readouterr().err


# ---------------------------------------------------------------- a model like any other


def test_a_model_of_sentences_is_a_function_of_its_parameters():
    apply, params = tj.functional(model())
    ids = np.array([[2, 5, 6, 3, 0], [2, 7, 8, 9, 3]])
    inputs = dict(input_ids=ids, attention_mask=ids > 0)
    out = model()(**inputs)
    assert set(out) == {"sentence_embedding", "token_embeddings"}
    np.testing.assert_array_equal(
        apply(params, **inputs).sentence_embedding, out.sentence_embedding
    )
    params["head"]["steps"]["1"]["linear"]["bias"] += 1.0
    other = apply(params, **inputs).sentence_embedding
    assert np.abs(other - out.sentence_embedding).max() > 0.01


def test_a_new_model_pools_as_requested():
    config = tj.GPT2Config(vocab_size=40, n_positions=8, n_embd=12, n_layer=1, n_head=3)
    new = lambda **options: tj.from_config(
        config, head="embedding", key=jax.random.key(0), **options
    )
    ids = np.array([[4, 5, 6]])
    assert new().plan.sentence.steps == (Pool(("mean",)),)
    out = new(pooling="lasttoken")(input_ids=ids)
    np.testing.assert_array_equal(out.sentence_embedding, out.token_embeddings[:, -1])


def test_layers_in_a_list_are_the_same_model(tmp_path):
    listed = tj.from_pretrained(SENTENCES, head="embedding", layers="list")
    np.testing.assert_allclose(listed.encode(TEXTS), vectors(), **CLOSE)
    listed.save_pretrained(tmp_path)
    written = (tmp_path / "model.safetensors").read_bytes()
    assert written == (SENTENCES / "model.safetensors").read_bytes()


def test_a_plain_directory_is_averaged(tmp_path):
    plain = copied(tmp_path / "plain", only=OWN)
    sentence_model = tj.from_pretrained(plain, head="embedding", unroll=False)
    np.testing.assert_allclose(sentence_model.encode(TEXTS), expected()["texts_plain"], **CLOSE)
    sentence_model.save_pretrained(tmp_path / "saved")
    again = tj.from_pretrained(tmp_path / "saved", head="embedding")
    assert again.plan.sentence.steps == sentence_model.plan.sentence.steps == (Pool(("mean",)),)
    first = tj.from_pretrained(plain, head="embedding", pooling="cls")
    assert first.plan.sentence.steps == (Pool(("cls",)),)


def test_a_backbone_is_taken_from_a_file_with_another_head():
    sentence_model = tj.from_pretrained(CASES / "bert-mlm", head="embedding")  # it stores no pooler
    ids = np.array([[4, 5, 6, 7]])
    out = sentence_model(input_ids=ids)
    np.testing.assert_allclose(out.sentence_embedding, out.token_embeddings.mean(1), **CLOSE)
    assert "pooler" not in tj.functional(sentence_model)[1]


# ---------------------------------------------------------------- directories


def test_a_directory_comes_back_byte_for_byte(tmp_path):
    model().save_pretrained(tmp_path)
    names = lambda folder: {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert names(tmp_path) == names(SENTENCES)
    for name in names(SENTENCES) - {"config.json"}:
        assert (tmp_path / name).read_bytes() == (SENTENCES / name).read_bytes(), name
    ours, theirs = (json.loads((p / "config.json").read_text()) for p in (tmp_path, SENTENCES))
    assert {k: v for k, v in ours.items() if k in theirs}.items() <= theirs.items()


def older(folder):
    """The directory as releases before 2.0 wrote it, with a tokenizer.json that pads its rows."""
    copied(folder)
    kinds = ("Transformer", "Pooling", "Dense", "LayerNorm", "Dropout", "Normalize")
    modules = [
        {"idx": n, "name": str(n), "path": f"{n}_{k}", "type": f"sentence_transformers.models.{k}"}
        for n, k in enumerate(kinds)
    ]
    flags = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    pooling = {"word_embedding_dimension": 12, **flags, "pooling_mode_max_tokens": False}
    (folder / "0_Transformer").mkdir()
    for name in OWN:
        shutil.move(folder / name, folder / "0_Transformer" / name)
    for name in ("sentence_bert_config.json", "config_sentence_transformers.json"):
        (folder / name).unlink()
    words = json.loads((folder / "0_Transformer/tokenizer.json").read_text())
    words["normalizer"]["lowercase"] = False
    words["padding"] = {
        "strategy": {"Fixed": 20},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    contents = {
        "modules.json": modules,
        "1_Pooling/config.json": {**pooling, "include_prompt": False},
        "0_Transformer/tokenizer.json": words,
        "0_Transformer/sentence_bert_config.json": {"max_seq_length": 24, "do_lower_case": True},
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def test_an_older_directory_gives_the_same_vectors(tmp_path):
    sentence_model = tj.from_pretrained(older(tmp_path / "older"), head="embedding", unroll=False)
    np.testing.assert_allclose(sentence_model.encode(TEXTS), vectors(), **CLOSE)
    sentence_model.save_pretrained(tmp_path / "saved")
    for name in ("modules.json", "1_Pooling/config.json", "0_Transformer/tokenizer.json"):
        assert (tmp_path / "saved" / name).read_bytes() == (tmp_path / "older" / name).read_bytes()
    lower, cased = (
        _loaded(str(tmp_path / "saved/0_Transformer"), flag, ()) for flag in (True, False)
    )
    assert lower.encode("CAT").tolist() == model_words().encode("cat").tolist()
    assert cased.encode("CAT").tolist() != lower.encode("CAT").tolist()


def test_settings_of_a_directory_are_its_defaults(tmp_path):
    settings = read("config_sentence_transformers.json")
    settings |= {"default_prompt_name": "query", "truncate_dim": 3}
    files = {"config_sentence_transformers.json": settings}
    sentence = tj.from_pretrained(copied(tmp_path / "a", files), head="embedding").plan.sentence
    assert (chosen_prompt(sentence, None, None), sentence.truncate) == ("query: ", 3)
    assert chosen_prompt(sentence, "", None) == ""
    assert chosen_prompt(model().plan.sentence, None, None) == ""


def changed(name, **values):
    return {name: {**read(name), **values}}


def with_module(kind, path="6_New"):
    listed = [*read("modules.json"), {"idx": 6, "name": "6", "path": path, "type": kind}]
    return {"modules.json": listed}


SETTINGS = "config_sentence_transformers.json"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (with_module("sentence_transformers.models.CNN"), r"CNN' is not supported.*Pooling, Dense"),
        (with_module("mine.Pooling"), "'mine.Pooling' is not supported.*no code"),
        (with_module("sentence_transformers.models.Dense", "../x"), "plain name of a folder"),
        ({"modules.json": read("modules.json")[1:]}, "first module is Pooling, not a Transf"),
        ({"modules.json": read("modules.json")[:1]}, "no module pools tokens"),
        (changed("1_Pooling/config.json", pooling_mode="middle"), "'middle'; known are cls, max"),
        (changed("1_Pooling/config.json", pooling_mode_middle=True), "_middle' is unknown; known"),
        (changed("1_Pooling/config.json", poling=1), "unknown key 'poling'; did you mean 'pooling"),
        (changed("2_Dense/config.json", in_features=12), "vectors of 12; 24 come in"),
        (changed("2_Dense/config.json", activation_function="torch.nn.Lost"), "known are.*Tanh"),
        (changed("2_Dense/config.json", activation_function="os.system"), "'os.system' is unknown"),
        (changed("2_Dense/config.json", module_input_name="x"), "expected one of sentence_emb"),
        (changed("sentence_bert_config.json", query_length=3), "query_length=3 is not implemented"),
        (changed(SETTINGS, similarity_fn_name="near"), "'near'; known are cosine, dot"),
        (changed(SETTINGS, default_prompt_name="doc"), "'doc' is none of the prompts"),
        (changed(SETTINGS, model_type="SparseEncoder"), "'SparseEncoder' is not implemented"),
        (changed(SETTINGS, truncate_dim="3"), "truncate_dim='3' has the wrong type"),
    ],
)
def test_errors_in_a_directory_are_reported(tmp_path, files, words):
    with pytest.raises(ValueError, match=words):
        tj.from_pretrained(copied(tmp_path / "a", files), head="embedding")


def test_weights_of_modules_are_never_unpickled(tmp_path):
    folder = copied(tmp_path / "a")
    (folder / "2_Dense/model.safetensors").rename(folder / "2_Dense/pytorch_model.bin")
    with pytest.raises(ValueError, match=r"2_Dense/pytorch_model\.bin may be a pickle"):
        tj.from_pretrained(folder, head="embedding")


def test_errors_in_a_call_are_reported():
    with pytest.raises(ValueError, match=r"truncate_dim \(9\) is more than the 8 numbers"):
        model().encode(TEXTS, truncate_dim=9)
    with pytest.raises(ValueError, match=r"'querry' is none.*did you mean 'query'"):
        model().encode(TEXTS, prompt_name="querry")
    with pytest.raises(ValueError, match="one of the two"):
        model().encode(TEXTS, prompt_name="query", prompt="query: ")
    with pytest.raises(ValueError, match="text 1 is int, not str"):
        model().encode(["a", 3])
    with pytest.raises(ValueError, match="output='torch': expected 'numpy' or 'jax'"):
        model().encode(TEXTS, output="torch")
    with pytest.raises(ValueError, match="belongs to head='embedding', not to 'none'"):
        tj.from_pretrained(SENTENCES, head="none", pooling="mean")
    with pytest.raises(ValueError, match="says how tokens are pooled"):
        tj.from_pretrained(SENTENCES, head="embedding", pooling="mean")
    with pytest.raises(ValueError, match="'middle'; known are cls"):
        tj.from_pretrained(CASES / "bert-base", head="embedding", pooling="middle")
    with pytest.raises(ValueError, match=r"bert has no head 'embeding'.*did you mean 'embedding'"):
        tj.from_pretrained(CASES / "bert-base", head="embeding")
    with pytest.raises(ValueError, match="bart has no head 'embedding'"):
        tj.from_pretrained(CASES / "bart-base", head="embedding")
    other = tj.from_pretrained(CASES / "bert-mlm")
    with pytest.raises(ValueError, match=r"'masked_lm' makes no vectors.*head='embedding'"):
        other.encode(TEXTS)


def test_a_model_without_a_directory_needs_a_tokenizer(tmp_path):
    config = model().config
    new = tj.from_config(config, head="embedding", key=jax.random.key(0))
    with pytest.raises(ValueError, match="so it has no tokenizer"):
        new.encode(TEXTS)
    assert new.encode([], tokenizer=model_words()).shape == (0, 12)
    directory = tj.from_pretrained(copied(tmp_path / "a"), head="embedding")
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(ValueError, match=r"saved in .*but without its tokenizer"):
        directory.save_pretrained(tmp_path / "b")
    assert (tmp_path / "b/2_Dense/model.safetensors").exists()


# ---------------------------------------------------------------- similarity


@pytest.mark.parametrize("how", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarities_are_those_of_the_reference(how):
    a, b = expected()["anchor"], expected()["positive"]
    np.testing.assert_allclose(tj.similarity(a, b[:3], how), expected()[f"{how}_all"], atol=2e-6)
    paired = tj.similarity(a, b, how, paired=True)
    np.testing.assert_allclose(paired, expected()[f"{how}_paired"], atol=2e-6)
    assert tj.similarity(a[0], b, how).shape == (1, 5)


def test_similarity_uses_the_function_of_the_model(tmp_path):
    files = changed(SETTINGS, similarity_fn_name="dot")
    other = tj.from_pretrained(copied(tmp_path / "a", files), head="embedding")
    a, b = expected()["anchor"], expected()["positive"]
    for own, how in ((model(), "cosine"), (other, "dot")):
        np.testing.assert_array_equal(tj.similarity(a, b, own), tj.similarity(a, b, how))


def test_wrong_similarities_are_refused():
    with pytest.raises(ValueError, match="'cosin' is unknown; did you mean 'cosine'"):
        tj.similarity(vectors(), vectors(), "cosin")
    with pytest.raises(ValueError, match=r"\(5, 8\) and \(5, 3\); expected rows of one width"):
        tj.similarity(vectors(), vectors()[:, :3])
