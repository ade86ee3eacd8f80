"""Messages about an unknown name say which known one is meant."""

from transformers_jax.spelling import closest, nearest


def test_one_name_is_offered_and_nothing_where_none_is_near():
    assert nearest("n_heads", ["n_head", "n_layer"]) == "; did you mean 'n_head'?"
    assert nearest("wormhole", ["n_head", "n_layer"]) == ""


def test_several_names_are_offered_in_order():
    known = ["bart", "mbart", "bert", "gpt2"]
    assert nearest("bartt", known, most=3) == "; did you mean 'bart', 'mbart' or 'bert'?"
    assert nearest("gpt-2", known, most=3) == "; did you mean 'gpt2'?"


def test_capitals_do_not_count_and_names_are_written_as_they_are():
    assert closest("bertmodel", ["BertModel", "bert"]) == ["BertModel"]
    assert nearest("PTH", ["path"], prefix="data.") == "; did you mean 'data.path'?"
