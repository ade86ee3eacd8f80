"""The advice of each error is followed and works; and no message names what does not exist."""

import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
import pytest

import transformers_jax as tj
from tests import advice
from transformers_jax import CAUSAL, FULL, OWN, Dense, Same

KEY = jax.random.key(0)
SIZES = dict(hidden_size=24, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32)
BERT = dict(vocab_size=32, max_position_embeddings=16, **SIZES)
GPT2 = tj.GPT2Config(vocab_size=32, n_positions=16, n_embd=24, n_layer=1, n_head=4)
BART = tj.BartConfig(
    vocab_size=32,
    d_model=24,
    max_position_embeddings=16,
    **{f"{side}_layers": 1 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
    **{f"{side}_ffn_dim": 32 for side in ("encoder", "decoder")},
)
LONG = tj.LongformerConfig(attention_window=4, pad_token_id=1, **BERT)
IDS = np.array([[3, 4, 5, 6]])
WORDS = dict(
    tj=tj, jax=jax, np=np, optax=optax, CAUSAL=CAUSAL, FULL=FULL, OWN=OWN, Same=Same, Dense=Dense
)


def build(config, head="causal_lm", **options):
    return tj.from_config(config, head=head, key=KEY, **options)


def advice_in(error, pattern):
    """What an error says to type, by a pattern with one group."""
    match = re.search(pattern, str(error))
    assert match, f"{pattern!r} is not in: {error}"
    return match[1]


def typed(error, pattern, **names):
    """The value of the code that an error says to type."""
    return eval(advice_in(error, pattern), {**WORDS, **names})


@dataclasses.dataclass(frozen=True)
class Advice:
    """A mistake, and how the advice of its error is followed; both get the fixture `folders`."""

    mistake: Callable[[Any], Any]
    follow: Callable[[Any, Exception], Any]
    kinds: tuple[type[Exception], ...] = (ValueError, TypeError)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Models, and a directory with one."""

    class Folders:
        gpt2 = build(GPT2)
        bart = build(BART, "seq2seq_lm")
        bert = build(tj.BertConfig(**BERT), "masked_lm")
        folder = tmp_path_factory.mktemp("model")

    Folders.bert.save_pretrained(Folders.folder)
    return Folders


def misspelt(call):
    """A call whose error names the right spelling: `call(wrong or right)`."""
    return lambda m, error: call(m, advice_in(error, r"did you mean '(\w+)'"))


def with_field(m, name):
    return tj.GPT2Config.from_dict({name: 2})


def with_option(m, name):
    return m.gpt2(**{name: IDS})


def of_labels(m, **more):
    return tj.from_pretrained(m.folder, head="BertForSequenceClassification", **more)


ADVICE = {
    "a misspelt field": Advice(lambda m: with_field(m, "n_layers"), misspelt(with_field)),
    "a misspelt argument": Advice(lambda m: with_option(m, "input_idz"), misspelt(with_option)),
    "a misspelt head": Advice(
        lambda m: build(GPT2, "causal_ml"), misspelt(lambda m, name: build(GPT2, name))
    ),
    "a misspelt name": Advice(
        lambda m: tj.from_pretraind,
        misspelt(lambda m, name: getattr(tj, name)),
        (AttributeError,),
    ),
    "a stray key": Advice(
        lambda m: tj.GPT2Config.from_dict({"floor": 2}),
        lambda m, e: tj.GPT2Config.from_dict({"floor": 2}, ignore=typed(e, r"ignore=(\(.*?\))")),
    ),
    "a width that heads do not divide": Advice(
        lambda m: GPT2.replace(n_embd=26).spec(),
        lambda m, e: GPT2.replace(n_embd=int(advice_in(e, r"the nearest are .*?(\d+)$"))).spec(),
    ),
    "a config of another family": Advice(
        lambda m: tj.GPT2Config.from_pretrained(m.folder),
        lambda m, e: typed(e, r"(tj\.\w+) reads any").from_pretrained(m.folder),
    ),
    "a head beside an Auto class": Advice(
        lambda m: tj.AutoModel.from_pretrained(m.folder, head="masked_lm"),
        lambda m, e: typed(e, r"call (tj\.from_pretrained)")(m.folder, head="masked_lm"),
    ),
    "a head without weights": Advice(
        lambda m: of_labels(m),
        lambda m, e: of_labels(m, key=typed(e, r"give key=(jax\S+) to draw", seed=1)),
    ),
    "a table of another size": Advice(
        lambda m: tj.from_pretrained(m.folder, vocab_size=40),
        lambda m, e: tj.from_pretrained(
            m.folder, vocab_size=40, key=typed(e, r"strict=False with key=(\S+\))"), strict=False
        ),
    ),
    "a class of Hugging Face's": Advice(
        lambda m: tj.BertForMaskedLM,
        lambda m, e: typed(e, r"(tj\.from_pretrained\(.*\))$", path=m.folder),
        (AttributeError,),
    ),
    "no family": Advice(
        lambda m: tj.from_config(BERT, key=KEY),
        lambda m, e: tj.from_config(BERT, key=KEY, head=typed(e, r"head=('\w+')")),
    ),
    "a mesh that is none": Advice(
        lambda m: build(GPT2, mesh={"data": 1}),
        lambda m, e: build(GPT2, mesh=typed(e, r"such as (tj\.make_mesh\(.*?\))$")),
    ),
    "a mask that is none": Advice(
        lambda m: build(GPT2, mask="causal"),
        lambda m, e: build(GPT2, mask=typed(e, r"such as (tj\.CAUSAL .*?\)),")),
    ),
    "masks of stacks that are not there": Advice(
        lambda m: build(BART, "seq2seq_lm", mask={"encodr": FULL}),
        lambda m, e: build(BART, "seq2seq_lm", mask={advice_in(e, r"\{'(\w+)': \.\.\."): FULL}),
    ),
    "pairs that nobody reads": Advice(
        lambda m: m.gpt2(IDS, pairs={"near": np.ones((1, 4, 4), bool)}),
        lambda m, e: build(GPT2, mask=typed(e, r"mask=((?:tj\.)?Dense\(.*?\))"))(
            IDS, pairs={"near": np.ones((1, 4, 4), bool)}
        ),
    ),
    "tags that nobody reads": Advice(
        lambda m: m.gpt2(IDS, tags={"document": IDS}),
        lambda m, e: build(GPT2, mask=typed(e, r"mask=((?:tj\.)?\w+ & .*?\))"))(
            IDS, tags={"document": IDS}
        ),
    ),
    "parameters in place of a model": Advice(
        lambda m: tj.generate(tj.functional(m.gpt2)[1], IDS),
        lambda m, e: typed(
            e, r"(tj\.bind\(.*?\)) is", model=m.gpt2, parameters=tj.functional(m.gpt2)[1]
        )(IDS),
    ),
    "a model in place of parameters": Advice(
        lambda m: tj.bind(m.gpt2, m.gpt2),
        lambda m, e: tj.bind(m.gpt2, typed(e, r"as (tj\.functional\(model\)\[1\])", model=m.gpt2)),
    ),
    "training mode": Advice(
        lambda m: m.gpt2.train(),
        lambda m, e: m.gpt2(IDS, key=typed(e, r"key=(jax\S+\)) has dropout", n=1)),
    ),
    "use_cache": Advice(
        lambda m: m.gpt2(IDS, use_cache=True),
        lambda m, e: m.gpt2(
            IDS, cache=typed(e, r"cache=(tj\S+ \S+ \w+\))", model=m.gpt2, batch=1, length=16)
        ),
    ),
    "a cache that is none": Advice(
        lambda m: m.gpt2(IDS, cache={}),
        lambda m, e: m.gpt2(
            IDS, cache=typed(e, r"what (tj\S+ \S+ \w+\))", model=m.gpt2, batch=1, length=16)
        ),
    ),
    "a cache that is full": Advice(
        lambda m: m.gpt2(IDS, cache=tj.init_cache(m.gpt2, 1, 2)),
        lambda m, e: m.gpt2(
            IDS,
            cache=typed(
                e,
                r"with (?:tj\.)?(init_cache\(.*?\))",
                model=m.gpt2,
                batch=1,
                init_cache=tj.init_cache,
            ),
        ),
    ),
    "sampling without a key": Advice(
        lambda m: tj.generate(m.gpt2, IDS, do_sample=True, max_new_tokens=1),
        lambda m, e: tj.generate(
            m.gpt2, IDS, do_sample=True, max_new_tokens=1, key=typed(e, r"key=(jax\S+\))", seed=1)
        ),
    ),
    "more text than positions": Advice(
        lambda m: tj.generate(m.gpt2, IDS, max_new_tokens=40),
        lambda m, e: tj.generate(
            m.gpt2, IDS, max_new_tokens=int(advice_in(e, r"pass max_new_tokens=(\d+)"))
        ),
    ),
    "a prompt longer than all positions": Advice(
        lambda m: tj.generate(m.gpt2, np.ones((1, 99), int), max_new_tokens=3),
        lambda m, e: tj.generate(
            m.gpt2, np.ones((1, int(advice_in(e, r"prompt to (\d+)"))), int), max_new_tokens=3
        ),
    ),
    "a head that writes nothing": Advice(
        lambda m: tj.generate(build(GPT2, "none"), IDS, max_new_tokens=1),
        lambda m, e: tj.generate(build(GPT2, typed(e, r"head=('\w+')")), IDS, max_new_tokens=1),
    ),
    "an encoder that should write, by its mask": Advice(
        lambda m: tj.generate(build(tj.BertConfig(**BERT)), IDS, max_new_tokens=1),
        lambda m, e: tj.generate(
            build(tj.BertConfig(**BERT), mask=typed(e, r"mask=(tj\.CAUSAL)")), IDS, max_new_tokens=1
        ),
    ),
    "an encoder that should write, by its config": Advice(
        lambda m: tj.generate(build(tj.BertConfig(**BERT)), IDS, max_new_tokens=1),
        lambda m, e: tj.generate(
            build(tj.BertConfig(**BERT, is_decoder=typed(e, r"is_decoder=(True)"))),
            IDS,
            max_new_tokens=1,
        ),
    ),
    "decoder inputs that cannot be made": Advice(
        lambda m: build(BART.replace(decoder_start_token_id=None), "seq2seq_lm")(IDS),
        lambda m, e: build(BART.replace(decoder_start_token_id=None), "seq2seq_lm")(
            IDS, **{advice_in(e, r"give (decoder_input_ids)$"): IDS}
        ),
    ),
    "no input": Advice(
        lambda m: m.gpt2(),
        lambda m, e: m.gpt2(**{advice_in(e, r"give (input_ids) or"): IDS}),
    ),
    "a question without separators": Advice(
        lambda m: build(LONG, "question_answering")(IDS),
        lambda m, e: build(LONG, "question_answering")(
            IDS, **{advice_in(e, r"give (global_attention_mask)$"): np.array([[1, 0, 0, 0]])}
        ),
    ),
    "vectors of a decoder": Advice(
        lambda m: tj.encode(m.bert, ["a"]),
        lambda m, e: tj.from_pretrained(m.folder, head=typed(e, r"head=('embedding')")),
    ),
    "pooling of another head": Advice(
        lambda m: tj.from_pretrained(m.folder, pooling="cls"),
        lambda m, e: tj.from_pretrained(
            m.folder, pooling="cls", head=typed(e, r"head=('embedding')")
        ),
    ),
    "names of labels that contradict their number": Advice(
        lambda m: GPT2.replace(num_labels=2, id2label={"0": "a", "1": "b", "2": "c"}),
        lambda m, e: GPT2.replace(
            num_labels=int(advice_in(e, r"but (\d+) labels")),
            id2label={"0": "a", "1": "b", "2": "c"},
        ),
    ),
    "torch_dtype": Advice(
        lambda m: tj.from_pretrained(m.folder, torch_dtype="bfloat16"),
        lambda m, e: tj.from_pretrained(
            m.folder, **{advice_in(e, r"that is (dtype)= here"): "bfloat16"}
        ),
    ),
    "device_map": Advice(
        lambda m: tj.from_pretrained(m.folder, device_map="auto"),
        lambda m, e: tj.from_pretrained(m.folder, mesh=typed(e, r"mesh=(tj\.make_mesh\(.*?\));")),
    ),
    "load_in_8bit": Advice(
        lambda m: tj.from_pretrained(m.folder, load_in_8bit=True),
        lambda m, e: tj.from_pretrained(m.folder, dtype=typed(e, r"dtype=('\w+')")),
    ),
    "attn_implementation": Advice(
        lambda m: build(GPT2, attn_implementation="sdpa"),
        lambda m, e: build(GPT2, attention=typed(e, r"attention=('auto')")),
    ),
    "an objective that is none": Advice(
        lambda m: tj.make_step(m.gpt2, "loss", optax.adamw(1e-4)),
        lambda m, e: tj.make_step(m.gpt2, typed(e, r"such as (tj\.supervised)"), optax.adamw(1e-4)),
    ),
    "an optimizer of a run": Advice(
        lambda m: tj.make_step(m.gpt2, tj.supervised, tj.AdamW()),
        lambda m, e: tj.make_step(m.gpt2, tj.supervised, typed(e, r"such as (optax\S+\))")),
    ),
}


@pytest.mark.parametrize("name", ADVICE)
def test_the_advice_of_an_error_works(name, folders):
    each = ADVICE[name]
    with pytest.raises(each.kinds) as error:
        each.mistake(folders)
    each.follow(folders, error.value)


def test_messages_only_name_what_exists():
    wrong_names = {
        source: bad for source, text in advice.sentences() if (bad := advice.wrong(text))
    }
    assert not wrong_names
    calls = [text for _, text in advice.sentences() if "tj." in text or "--" in text]
    assert len(calls) > 50


@pytest.mark.parametrize(
    "text",
    [
        "call tj.from_pretraind(path)",
        "pass --data.bach 3",
        "with tj.functional(model, rows=3)",
        "tj.from_pretrained(path, hed='x')",
    ],
)
def test_a_message_that_names_something_missing_is_detected(text):
    assert advice.wrong(text)  # the control


def test_the_advice_of_the_command_line_works(folders, tmp_path, capsys):
    from transformers_jax.cli import main

    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("")
    convert = ["convert", str(folders.folder), str(tmp_path / "there")]
    assert main(convert) != 0
    assert main([*convert, advice_in(capsys.readouterr().err, r"or (--overwrite)")]) == 0
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**GPT2.to_dict(), "floor": 1}))
    assert main(["inspect", str(config)]) != 0
    flag, key = advice_in(capsys.readouterr().err, r"or (--ignore \w+)").split()
    assert main(["inspect", str(config), flag, key]) == 0
