"""Tokenizers in every published format, and files that are none."""

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from transformers_jax.data import chat as chats
from transformers_jax.data.tokenizers import load_tokenizer, train_tokenizer

TEXT = "The naïve tokenizer reads  a text, and gives it back 🙂."
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the read ##s ##er text na ##ive .".split()
CORPUS = [f"The reader {n} reads {n * n} naïve texts, and gives them back." for n in range(60)]


def test_a_vocabulary_of_word_pieces(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    tokenizer = load_tokenizer(tmp_path)
    ids = tokenizer.encode("The reader reads NAÏVE text.")
    assert [WORDS[i] for i in ids] == "the read ##er read ##s na ##ive text .".split()
    assert tokenizer.decode(ids) == "the reader reads naive text."
    assert tokenizer.special == {r: f"[{r.upper()}]" for r in ("pad", "unk", "cls", "sep", "mask")}
    assert np.flatnonzero(tokenizer.vocabulary().continues).tolist() == [7, 8, 11]
    batch = tokenizer.batch(["text", "the text"])["input_ids"]
    assert batch.tolist() == [[2, 9, 3, 0], [2, 5, 9, 3]]
    config = {"do_lower_case": False}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert load_tokenizer(tmp_path).encode("The text").tolist() == [1, 9]


def test_byte_pairs_with_their_merges(tmp_path):
    trained = train_tokenizer("bpe", CORPUS, 320, roles=("eos",))
    trained.inner.model.save(str(tmp_path))
    config = {"eos_token": {"content": "</s>", "lstrip": False}, "add_prefix_space": False}
    config |= {"tokenizer_class": "GPT2Tokenizer", "bos_token": None, "unk_token": None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(tmp_path)
    np.testing.assert_array_equal(tokenizer.encode(TEXT), trained.encode(TEXT))
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    assert tokenizer.special == {"eos": "</s>"}
    assert tokenizer.encode("</s>").tolist() == trained.encode("</s>").tolist() == [0]
    (tmp_path / "vocab.json").write_text('{"a</w>": 0}')
    with pytest.raises(ValueError, match="end with </w>"):
        load_tokenizer(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(ValueError, match=r"merges\.txt is not in the same folder"):
        load_tokenizer(tmp_path / "vocab.json")


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def pieces(request, tmp_path_factory):
    """A small SentencePiece model and the library's own reading of it."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        vocab_size=330 if request.param == "bpe" else 120,
        model_type=request.param,
        byte_fallback=request.param == "bpe",
        user_defined_symbols=["<sep>"],
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("pieces") / "spiece.model"
    path.write_bytes(model.getvalue())
    return path, sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def test_a_sentencepiece_model_gives_the_ids_that_its_library_gives(pieces):
    path, theirs = pieces
    tokenizer = load_tokenizer(path.parent)
    for text in (*CORPUS[:9], TEXT, " The  reader ", "", "ﬁve Ⅳ", "a<sep>", "雪"):
        assert tokenizer.encode(text).tolist() == theirs.encode(text), text
        if theirs.unk_id() not in theirs.encode(text) and "<sep>" not in text:
            assert tokenizer.decode(tokenizer.encode(text)) == theirs.decode(theirs.encode(text))
    assert tokenizer.special == {"unk": "<unk>", "bos": "<s>", "eos": "</s>"}
    ids = tokenizer.encode("The reader reads")
    assert (~tokenizer.vocabulary().continues[ids]).sum() == 3


def test_what_t5_puts_around_a_text_and_behind_its_pieces(pieces, tmp_path):
    path, theirs = pieces
    (tmp_path / "spiece.model").write_bytes(path.read_bytes())
    config = tmp_path / "tokenizer_config.json"
    bare = theirs.encode("The reader")
    config.write_text('{"tokenizer_class": "T5Tokenizer", "extra_ids": 3}')
    if theirs.piece_to_id("<0x00>") != theirs.unk_id():  # a model of pairs
        with pytest.raises(ValueError, match="of type BPE, and its class reads unigram"):
            load_tokenizer(tmp_path)
    else:
        t5 = load_tokenizer(tmp_path)
        assert t5.vocabulary().sentinels == tuple(theirs.vocab_size() + n for n in (2, 1, 0))
        assert t5.batch(["The reader"])["input_ids"].tolist() == [[*bare, theirs.eos_id()]]
    config.write_text('{"add_bos_token": true}')  # no class: the model as stored
    assert load_tokenizer(tmp_path).batch(["The reader"])["input_ids"].tolist() == [
        [theirs.bos_id(), *bare]
    ]


@pytest.mark.parametrize("content", [b"", b"\xff\xff", b"\x0a\x7f", b"plain text", b"\x12\x00"])
def test_a_file_that_is_no_sentencepiece_model_is_refused(tmp_path, content):
    (tmp_path / "a.model").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.model is not a tokenizer"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "content",
    ["", "{}", "not json", '{"model": {"type": "BPE"}}', "[]", '{"version": "1.0", "model": null}'],
)
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_a_panic_of_the_library_is_an_error_like_any(tmp_path):
    train_tokenizer("bpe", CORPUS, 300).save(tmp_path)
    file = tmp_path / "tokenizer.json"
    content = json.loads(file.read_text())
    content["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"Regex": "(a+)+$"},
        "behavior": "Isolated",
        "invert": False,
    }
    file.write_text(json.dumps(content))
    tokenizer = load_tokenizer(tmp_path)
    with pytest.raises(ValueError, match="cannot be encoded"):
        tokenizer.encode("a" * 40 + "b")


def test_folders_that_do_not_say_which_are_refused(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        load_tokenizer(tmp_path)
    for name in ("a.model", "b.model"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"several SentencePiece models \(a.model, b.model\)"):
        load_tokenizer(tmp_path)


def test_roles_come_from_the_map_then_the_config_then_the_names(tmp_path):
    tokenizer = train_tokenizer("bpe", CORPUS, 300, roles=("pad", "unk", "eos", "mask"))
    tokenizer.inner.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).special == tokenizer.special
    (tmp_path / "special_tokens_map.json").write_text('{"bos_token": "</s>", "pad_token": null}')
    assert load_tokenizer(tmp_path).special == {"bos": "</s>"}
    (tmp_path / "special_tokens_map.json").unlink()
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "<pad>", "eos_token": "<no>"}')
    assert load_tokenizer(tmp_path).special == {"bos": "<pad>", "eos": "<no>"}  # added, as there
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"tokenizer_config\.json holds list"):
        load_tokenizer(tmp_path)


TEMPLATE = """{{ bos_token }}{% for message in messages %}
<{{ message['role'] }}>{{ message['content'] | trim }}
{% endfor %}
{% if add_generation_prompt %}<assistant>{% endif %}"""


def chat_tokenizer(tmp_path, template):
    tokenizer = train_tokenizer("bpe", CORPUS, 300, roles=("bos",))
    tokenizer.chat_template = template
    tokenizer.save(tmp_path)
    return load_tokenizer(tmp_path)


def test_a_conversation_is_written_by_the_template(tmp_path):
    tokenizer = chat_tokenizer(tmp_path, TEMPLATE)
    messages = [{"role": "user", "content": " hi "}, {"role": "assistant", "content": "yes"}]
    assert tokenizer.chat(messages) == "<s><user>hi\n<assistant>yes\n"
    assert tokenizer.chat(messages[:1], add_generation_prompt=True).endswith("hi\n<assistant>")
    (tmp_path / "chat_template.jinja").write_text("{{ messages | length }}")
    assert load_tokenizer(tmp_path).chat(messages) == "2"


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__mro__ }}{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception('roles must alternate') }}",
        "{% for %}",
        "{{ 1 / 0 }}",
    ],
)
def test_templates_that_reach_out_or_fail_are_refused(tmp_path, template):
    with pytest.raises(ValueError, match="the chat template fails"):
        chat_tokenizer(tmp_path, template).chat([{"role": "user", "content": "hi"}])


ENDLESS = "{% set n = namespace(a='x') %}" + "{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (ENDLESS, r"it takes more than 1 s"),
        ("{{ 'x' * 10 ** 11 }}", "it takes too much memory"),
        ("{{ 9 ** (9 ** 9) }}", r"it takes more than 1 s"),
    ],
)
def test_templates_that_never_end_or_eat_memory_are_refused(
    tmp_path, template, reason, monkeypatch
):
    monkeypatch.setattr(chats, "SECONDS", 1)
    chats._process(os.getpid()).close()  # one with this bound
    messages = [{"role": "user", "content": "hi"}]
    with pytest.raises(ValueError, match=rf"the chat template fails on .* \({reason}\)"):
        chat_tokenizer(tmp_path, template).chat(messages)
    assert chat_tokenizer(tmp_path, TEMPLATE).chat(messages) == "<s><user>hi\n"


def test_conversations_are_rendered_by_one_process(tmp_path):
    tokenizer = chat_tokenizer(tmp_path, "{{ messages[0].content }}{{ number }}")
    say = lambda text: tokenizer.chat([{"role": "user", "content": text}], number=(1, 2))
    say("")
    first = chats._process(os.getpid())._started.pid
    texts = ["é" * n for n in range(1, 40)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(say, texts)) == [f"{text}(1, 2)" for text in texts]
    assert chats._process(os.getpid())._started.pid == first
    with pytest.raises(ValueError, match="are plain values: text, numbers"):
        tokenizer.chat([{"role": "user", "content": lambda: 1}])


@pytest.mark.parametrize("place", ["vocabulary", "frame"])
def test_ids_that_no_array_holds_are_refused(tmp_path, place):
    tokenizer = train_tokenizer("wordpiece", CORPUS, 300, roles=("cls", "sep", "unk"))
    tokenizer.save(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    if place == "vocabulary":
        content["model"]["vocab"]["cat"] = 2**31
    else:
        content["post_processor"] = {
            "type": "BertProcessing", "sep": ["[SEP]", 2**31], "cls": ["[CLS]", 2]
        }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"tokenizer\.json is not a tokenizer: .*id 2147483648"):
        load_tokenizer(tmp_path)


def test_a_missing_template_or_jinja_is_reported(monkeypatch):
    with pytest.raises(ValueError, match="has no chat template"):
        train_tokenizer("byte", [], 0).chat([])
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(ValueError, match=r"transformers-jax\[chat\]"):
        chats.render("x", [], {})
