"""Tokenizers together with models, and what is saved of both."""

import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from tokenizers import AddedToken

import transformers_jax as tj
from transformers_jax.cli.texts import read_by
from transformers_jax.data.tokenizer import Tokenizer
from transformers_jax.data.tokenizer_settings import settings
from transformers_jax.data.tokenizers import load_tokenizer, train_tokenizer
from transformers_jax.training.vocabulary import fit_vocabulary

TEXTS = ["the cat sat on the mat", "a dog stood beside it", "the end"]
KEY = jax.random.key(0)


def learned(kind="wordpiece", size=60, roles=("pad", "cls", "sep")):
    return train_tokenizer(kind, TEXTS * 3, size, roles=roles)


def typed(tokenizer, name, **more):
    """The same tokenizer, as loaded from a directory that names its class."""
    config = {"tokenizer_class": name, **more}
    return Tokenizer(tokenizer.inner, tokenizer.kind, tokenizer.special, **settings(config))


def bert(tokenizer, **options):
    config = tj.BertConfig(
        vocab_size=tokenizer.max_id + 1,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=32,
        pad_token_id=tokenizer.special_id("pad"),
        **options,
    )
    return tj.from_config(config, head="embedding", key=KEY)


@pytest.mark.parametrize(
    ("name", "has_types"),
    [
        ("BertTokenizer", True),
        ("BertTokenizerFast", True),
        ("AlbertTokenizer", True),
        ("GPT2Tokenizer", False),
        ("GPT2TokenizerFast", False),
        ("RobertaTokenizer", False),
        ("T5TokenizerFast", False),
        ("LlamaTokenizer", False),
        ("PreTrainedTokenizerFast", True),  # says nothing: [CLS] a [SEP] b [SEP] decides
    ],
)
def test_token_types_are_returned_by_classes_that_use_them(name, has_types):
    tokenizer = typed(learned(), name)
    batch = tokenizer.batch(TEXTS[:2], TEXTS[1:])
    assert ("token_type_ids" in batch) is has_types
    assert tokenizer.batch(TEXTS[:1], TEXTS[1:2], return_token_type_ids=True)[
        "token_type_ids"
    ].any()
    named = typed(learned(), name, model_input_names=["input_ids", "attention_mask"])
    assert "token_type_ids" not in named.batch(TEXTS[:2], TEXTS[1:])


def test_pairs_of_texts_have_no_token_types_for_gpt2():
    """Its types are rows of its word table: text numbers would be added to the words."""
    tokenizer = learned("bpe", 290, roles=("pad",))
    config = tj.GPT2Config(
        vocab_size=tokenizer.max_id + 1, n_positions=64, n_embd=8, n_layer=1, n_head=2
    )
    model = tj.from_config(config, head="causal_lm", key=KEY)
    pair = tokenizer.batch(TEXTS[:1], TEXTS[1:2])
    assert "token_type_ids" not in pair
    typed = tokenizer.batch(TEXTS[:1], TEXTS[1:2], return_token_type_ids=True)
    same = model(**pair).logits
    np.testing.assert_array_equal(model(input_ids=typed["input_ids"]).logits, same)
    assert np.abs(model(**typed).logits - same).max() > 1e-3  # whoever passes them still gets them


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    tokenizer = learned()
    model = bert(tokenizer)
    model.save_pretrained(tmp_path / "both", tokenizer=tokenizer)
    both = tj.from_pretrained(tmp_path / "both", head="embedding")
    again = load_tokenizer(tmp_path / "both")
    expected = model.encode(TEXTS, tokenizer=tokenizer)
    np.testing.assert_allclose(both.encode(TEXTS, tokenizer=again), expected, atol=1e-6)
    np.testing.assert_allclose(both.encode(TEXTS), expected, atol=1e-6)
    more = learned()
    more.add_tokens(["cat mat"])
    other = learned(roles=("cls", "pad", "sep"))
    other.special = {**other.special, "pad": "[SEP]"}
    for wrong, words in (
        (more, rf"ids up to {more.max_id}, and vocab_size is {more.max_id} .*resize_embeddings"),
        (other, r"pad is '\[SEP\]' \(\d+\) to the tokenizer and pad_token_id=\d+ to the model"),
        (None, "tokenizer is str; expected what tj.load_tokenizer"),
    ):
        for call in (
            lambda one: model.encode(TEXTS, tokenizer=one),
            lambda one: model.save_pretrained(tmp_path / "none", tokenizer=one),
        ):
            with pytest.raises(ValueError, match=words):
                call(wrong or "bert")
    assert not (tmp_path / "none").exists()


def test_what_the_refusal_advises_helps():
    tokenizer = learned()
    model = bert(tokenizer)
    tokenizer.add_tokens(["cat mat"])
    grown = tj.resize_embeddings(model, tokenizer.max_id + 1, key=KEY)
    assert np.isfinite(grown.encode(TEXTS, tokenizer=tokenizer)).all()
    other = learned()
    other.special = {**other.special, "pad": "[SEP]"}
    corrected = bert(other)  # made with pad_token_id= as it says
    assert np.isfinite(corrected.encode(TEXTS, tokenizer=other)).all()


def test_vectors_do_not_depend_on_the_side_of_padding():
    tokenizer = learned()
    model = bert(tokenizer)
    left = Tokenizer(tokenizer.inner, "loaded", tokenizer.special, padding_side="left")
    expected = model.encode(TEXTS, tokenizer=tokenizer)
    np.testing.assert_allclose(model.encode(TEXTS, tokenizer=left), expected, atol=1e-6)


def test_added_tokens_are_encoded_and_skipped_in_decoding_where_special():
    tokenizer = learned()
    size = tokenizer.max_id + 1
    assert tokenizer.add_tokens(["cat mat"]) == 1
    assert tokenizer.add_tokens("[E1]", special_tokens=True) == 1
    assert tokenizer.add_tokens(AddedToken("[E2]", rstrip=True, special=True)) == 1
    assert tokenizer.add_tokens("[E1]") == 0
    ids = tokenizer.encode("the cat mat [E1] [E2] end")
    assert (ids >= size).sum() == 3
    text = tokenizer.decode(ids)
    assert "[E1]" in text
    assert "[E1]" not in tokenizer.decode(ids, skip_special_tokens=True)
    assert "cat mat" in tokenizer.decode(ids, skip_special_tokens=True)
    for wrong in ("", 5, [""]):
        with (
            pytest.raises(ValueError, match=r"is no token|not iterable")
            if wrong != 5
            else (pytest.raises((ValueError, TypeError)))
        ):
            tokenizer.add_tokens(wrong)
    with pytest.raises(ValueError, match="'padd_token' is no special token; did you mean 'pad_tok"):
        tokenizer.add_special_tokens({"padd_token": "<pad>"})
    bytes_too = train_tokenizer("byte", [], 0)
    bytes_too.add_special_tokens({"pad_token": "<pad>", "additional_special_tokens": ["<x>"]})
    assert bytes_too.encode("a<x>").tolist() == [97, 257]
    assert bytes_too.special == {"pad": "<pad>"}


CONFIG = {
    "tokenizer_class": "BertTokenizer",
    "do_lower_case": False,
    "model_max_length": 77,
    "padding_side": "left",
    "truncation_side": "left",
    "clean_up_tokenization_spaces": True,
    "mask_token": {"content": "[MASK]", "lstrip": True, "__type": "AddedToken"},
    "some_key_of_theirs": [1, {"a": None}],
    "name_or_path": "/somewhere/else",
}


def test_settings_of_a_tokenizer_directory_are_saved_unchanged(tmp_path):
    tokenizer = learned(roles=("pad", "unk", "cls", "sep", "mask"))
    tokenizer.inner.save(str(tmp_path / "tokenizer.json"))
    special_tokens = {f"{role}_token": text for role, text in tokenizer.special.items()}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**special_tokens, **CONFIG}))
    loaded = load_tokenizer(tmp_path)
    loaded.chat_template = "{{ messages }}"
    loaded.add_tokens(AddedToken("[E1]", lstrip=True, special=True))
    loaded.save(tmp_path / "again")
    again = load_tokenizer(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    unchanged = {name: value for name, value in CONFIG.items() if name != "name_or_path"}
    assert {name: config[name] for name in unchanged} == unchanged
    assert "name_or_path" not in config
    assert config["model_input_names"] == ["input_ids", "token_type_ids", "attention_mask"]
    assert config["additional_special_tokens"] == ["[E1]"]
    flags = config["added_tokens_decoder"][str(loaded.max_id)]
    assert flags["content"] == "[E1]"
    assert flags["lstrip"] is True
    for one in (loaded, again):
        assert (one.padding_side, one.truncation_side) == ("left", "left")
        assert (one.model_max_length, one.tokenizer_class) == (77, "BertTokenizer")
        assert one.gives_types
    assert again.chat([{"role": "user", "content": "x"}]) == loaded.chat(
        [{"role": "user", "content": "x"}]
    )
    texts = ["the cat [E1] mat", "a dog"]
    for name, array in loaded.batch(texts, TEXTS[:2], truncation=True).items():
        np.testing.assert_array_equal(array, again.batch(texts, TEXTS[:2], truncation=True)[name])
    roles = json.loads((tmp_path / "again" / "special_tokens_map.json").read_text())
    assert roles["cls_token"] == "[CLS]"
    again.save(tmp_path / "third")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        assert (tmp_path / "third" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_learned_tokenizer_saves_that_it_returns_token_types(tmp_path):
    learned().save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert "token_type_ids" in config["model_input_names"]
    learned("bpe", 290, roles=("pad",)).save(tmp_path / "plain")
    config = json.loads((tmp_path / "plain" / "tokenizer_config.json").read_text())
    assert "token_type_ids" not in config.get("model_input_names", [])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"padding_side": "top"}, "padding_side='top': expected 'left' or 'right'"),
        ({"model_max_length": "long"}, "model_max_length='long' must be a number of tokens"),
    ],
)
def test_settings_without_effect_are_refused(tmp_path, config, words):
    learned().save(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    with pytest.raises(ValueError, match=words):
        load_tokenizer(tmp_path)


def test_the_repr_of_a_tokenizer_is_short_and_complete():
    tokenizer = typed(learned(), "BertTokenizer", model_max_length=512)
    lines = repr(tokenizer).splitlines()
    assert len(lines) <= 5
    assert max(map(len, lines)) < 200
    for part in ("BertTokenizer", f"{tokenizer.max_id}", "pad='[PAD]' 0", "512", "'right'"):
        assert part in repr(tokenizer), part
    big = train_tokenizer("byte", [], 0, sentinels=100)
    assert len(repr(big)) < 600


def test_tokenizers_are_copied_and_shared_by_threads():
    import copy
    import pickle
    from concurrent.futures import ThreadPoolExecutor

    tokenizer = learned()
    for other in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert (
            other.batch(TEXTS)["input_ids"].tolist() == tokenizer.batch(TEXTS)["input_ids"].tolist()
        )
    whole = tokenizer.encode(TEXTS[0]).tolist()

    def one(n):
        if n % 2:
            return tokenizer.batch(TEXTS[:1], max_length=4, truncation=True)["input_ids"].shape == (
                1,
                4,
            )
        return tokenizer.encode(TEXTS[0]).tolist() == whole

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(400)))


def test_prompts_are_read_with_what_the_tokenizer_puts_around():
    """T5's text ends with </s>; a text that is to be continued does not end."""
    tokenizer = learned(roles=("pad", "cls", "sep"))
    config = SimpleNamespace(vocab_size=tokenizer.max_id + 1)
    bare = tokenizer.encode(TEXTS[0]).tolist()
    cls, sep = tokenizer.special_id("cls"), tokenizer.special_id("sep")
    for head, both, expected in (
        ("seq2seq_lm", True, [cls, *bare, sep]),
        ("masked_lm", False, [cls, *bare, sep]),
        ("causal_lm", False, [cls, *bare]),
    ):
        plan = SimpleNamespace(head=head)
        model = SimpleNamespace(config=config, plan=plan, is_encoder_decoder=both)
        assert read_by(model, tokenizer, TEXTS[0]) == expected
    model.config = SimpleNamespace(vocab_size=3)
    with pytest.raises(ValueError, match="do not belong together: the tokenizer has ids up to"):
        read_by(model, tokenizer, TEXTS[0])
    assert read_by(model, None, "5 17") == [5, 17]


def test_a_run_fills_rows_with_the_token_that_its_model_fills_them_with():
    tokenizer = learned(roles=("unk", "pad"))
    corpus = SimpleNamespace(tokenizer=tokenizer, trained_tokenizer=False)
    size, pad = tokenizer.max_id + 1, tokenizer.special_id("pad")
    wrong = tj.RobertaConfig(vocab_size=size, pad_token_id=(pad + 1) % size)
    config = SimpleNamespace(
        model=wrong,
        objective=SimpleNamespace(sides=1),
        data=SimpleNamespace(tokenizer="some/folder"),
    )
    with pytest.raises(ValueError, match=r"pad_token_id is .* set them to what some/folder says"):
        fit_vocabulary(config, corpus, None, None)
    config.model = wrong.replace(pad_token_id=pad)  # as it says
    config.replace = lambda model: model
    assert fit_vocabulary(config, corpus, None, None)[1] == size
