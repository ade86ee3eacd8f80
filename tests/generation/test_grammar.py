"""Texts of grammars: everything that is written is one, whatever the model would have written."""

import json
import logging
import re

import jax
import jsonschema
import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

import transformers_jax as tj
from transformers_jax.data.learned import train_tokenizer
from transformers_jax.generation import _run

WORDS = ['{"name": "Ada", "age": 36, "tags": ["a", "b"]}', "to be or not to be", "x = 3.14 + y"] * 9
INTEGER = {"type": "integer"}
ROLES = ("bos", "eos", "pad")

POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer", "minimum": -9, "maximum": 99}, "y": {"enum": [1, 2]}},
    "required": ["x", "y"],
    "additionalProperties": False,
}
COMPACT = {**POINT, "x-guidance": {"whitespace_flexible": False}}
SCHEMAS = [
    {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 4},
    {"enum": ["red", "green", None, 7]},
    POINT,
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 8},
            "at": {"anyOf": [POINT, {"type": "null"}]},
            "path": {"type": "array", "items": POINT, "maxItems": 2},
            "id": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{1,3}$"},
            "share": {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.25},
        },
        "required": ["name", "at", "path", "id"],
        "additionalProperties": False,
    },
    {"type": "array", "prefixItems": [{"const": "v1"}, {"type": "string", "format": "date"}]}
    | {"minItems": 2, "items": False},
]
SUM = """
start: term ("+" term){0,3}
term: NUMBER | "(" start ")"
NUMBER: /[1-9][0-9]{0,2}/
"""


def is_sum(text):
    return re.fullmatch(r"[0-9+()]+", text) and isinstance(eval(text), int)


GRAMMARS = [
    *[({"json_schema": s}, lambda text, s=s: validates(text, s)) for s in SCHEMAS],
    ({"grammar": tj.Regex(r"[a-c]{1,5}@(one|two)\.org")}, None),
    ({"grammar": SUM}, is_sum),
    ({"grammar": 'start: "yes" | "no" " "? "!"'}, {"yes", "no!", "no !"}.__contains__),
]
GRAMMARS[5] = (GRAMMARS[5][0], re.compile(r"[a-c]{1,5}@(one|two)\.org").fullmatch)


def validates(text, schema):
    try:
        jsonschema.validate(json.loads(text), schema)
    except (jsonschema.ValidationError, json.JSONDecodeError):
        return False
    return True


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer("bpe", WORDS, 320, roles=ROLES)


@pytest.fixture(scope="module")
def model(tokenizer):
    """With a table that is larger than the vocabulary, as many are."""
    return of(tokenizer, spare=40)


def of(tokenizer, spare=0):
    special = {f"{role}_token_id": tokenizer.special_id(role) for role in ROLES}
    sizes = dict(vocab_size=tokenizer.max_id + 1 + spare, n_embd=24, n_layer=1, n_head=4)
    config = tj.GPT2Config(**sizes, **special, n_positions=256)
    return tj.from_config(config, head="causal_lm", key=jax.random.key(0))


def texts(tokenizer, ids, columns):
    return [tokenizer.decode(row[columns:], skip_special_tokens=True) for row in np.asarray(ids)]


def allowed(state):
    """The tokens of a mask."""
    return np.flatnonzero(np.unpackbits(state.mask().view(np.uint8), bitorder="little"))


def drawn(model, tokenizer, rows, seed=0, **options):
    prompt = np.random.default_rng(seed).integers(9, 200, (rows, 3))
    options = {"max_new_tokens": 240, "do_sample": True, "top_k": 0, "temperature": 1.5} | options
    return tj.generate(
        model,
        prompt,
        tokenizer=tokenizer,
        key=jax.random.key(seed),
        return_dict_in_generate=True,
        **options,
    )


def wrong(model, tokenizer, rows, grammars=GRAMMARS):
    """The drawn texts that are none of their grammar, and how many were drawn."""
    found, count = [], 0
    for seed, (grammar, holds) in enumerate(grammars):
        out = drawn(model, tokenizer, rows, seed, **grammar)
        assert out.complete.all(), grammar
        for text in texts(tokenizer, out.sequences, 3):
            count += 1
            found += [] if holds(text) else [(grammar, text)]
    return found, count


def test_forty_of_forty_texts_are_valid_by_one_program(model, tokenizer):
    first = drawn(model, tokenizer, 5, **GRAMMARS[0][0])
    programs = _run._cache_size()
    found, count = wrong(model, tokenizer, 5)
    assert (found, count) == ([], 40)
    assert _run._cache_size() == programs  # one for all grammars
    assert len(set(texts(tokenizer, first.sequences, 3))) > 1


def test_without_a_grammar_nothing_is_valid(model, tokenizer):
    out = drawn(model, tokenizer, 5)
    assert "complete" not in out
    assert not any(
        holds(text) for text in texts(tokenizer, out.sequences, 3) for _, holds in GRAMMARS
    )


@pytest.mark.slow
def test_a_thousand_of_a_thousand_texts_are_valid(model, tokenizer):
    assert wrong(model, tokenizer, 125) == ([], 1000)


@pytest.mark.parametrize("search", [{}, {"num_beams": 3}])
def test_greedy_text_and_beams_of_prompts_padded_on_either_side(model, tokenizer, search):
    pad = tokenizer.special_id("pad")
    ids = np.array([[20, 30, 40], [pad, 50, 60], [50, 60, pad]])
    options = {"tokenizer": tokenizer, "json_schema": COMPACT, "max_new_tokens": 120, **search}
    out = tj.generate(
        model, ids, attention_mask=(ids != pad).astype(int), return_dict_in_generate=True, **options
    )
    made = texts(tokenizer, out.sequences, 3)
    assert out.complete.all(), made
    assert all(validates(text, POINT) for text in made)
    assert made[1] == made[2]


def test_tokens_that_a_mask_has_can_be_consumed_and_others_cannot(tokenizer):
    """Of what must come the mask has the tokenizer's own token alone. A copy goes its own way."""
    rng, size = np.random.default_rng(0), tokenizer.max_id + 30
    for grammar, _ in GRAMMARS:
        state = tj.Grammar(tokenizer, **grammar, vocabulary=size).start()
        for _ in range(6):
            assert (state.mask().dtype, len(state.mask())) == (np.uint32, -(-size // 32))
            tokens = allowed(state)
            for token in range(size):
                other = state.copy()
                if token in tokens:
                    other.consume(token)
                elif len(tokens) > 1:
                    with pytest.raises(ValueError, match=f"token {token} is not allowed here"):
                        other.consume(token)
            assert tokens.max() <= tokenizer.max_id
            state.consume(rng.choice(tokens))
            if state.done:
                break


def test_a_state_is_done_where_only_an_end_can_follow(tokenizer):
    grammar = tj.Grammar(tokenizer, grammar=tj.Regex("ab?"))
    state, (a, b) = grammar.start(), (tokenizer.encode(c)[0] for c in "ab")
    assert not state.complete
    state.consume(a)
    assert (state.complete, state.done) == (True, False)
    ended = state.copy()
    ended.consume(grammar.ends[0])
    state.consume(b)
    assert (state.complete, state.done, ended.complete, ended.done) == (True,) * 4
    assert np.array_equal(ended.mask(), state.mask())
    assert np.array_equal(allowed(state), grammar.ends)
    with pytest.raises(ValueError, match="not allowed here"):
        ended.consume(a)


def test_what_is_cut_is_told(model, tokenizer, caplog):
    with caplog.at_level(logging.WARNING):
        out = drawn(model, tokenizer, 5, grammar='start: "a" | /b{9}/', max_new_tokens=4)
    made = texts(tokenizer, out.sequences, 3)
    assert {text[0] for text in made} == {"a", "b"}
    assert out.complete.tolist() == [text == "a" for text in made]
    rows = ", ".join(str(row) for row, text in enumerate(made) if text != "a")
    [line] = [r.getMessage() for r in caplog.records]
    assert f"row(s) {rows};" in line
    none = tj.generate(
        model,
        [[5]],
        max_new_tokens=0,
        tokenizer=tokenizer,
        grammar=tj.Regex("a*"),
        return_dict_in_generate=True,
    )
    assert none.complete.all()  # no text at all matches


def test_beams_that_are_whole_win(model, tokenizer):
    """Of two texts the model likes the one better that is cut."""
    scores = np.asarray(model(input_ids=[[5, 6, 7]]).logits)[0, -1]
    less, more = sorted("ab", key=lambda letter: scores[tokenizer.encode(letter)[0]])
    grammar = f'start: "{less}" | "{more}" "c"{{9}}'
    options = dict(tokenizer=tokenizer, num_beams=2, return_dict_in_generate=True)
    for most, text in ((5, less), (1, less)):
        out = tj.generate(model, [[5, 6, 7]], grammar=grammar, max_new_tokens=most, **options)
        assert texts(tokenizer, out.sequences, 3) == [text]
        assert out.complete.all()


def test_a_grammar_has_the_last_word(model, tokenizer):
    """Of what else bans tokens: everything it allows is banned here."""
    every = tuple(range(tokenizer.max_id + 1))
    out = drawn(model, tokenizer, 5, json_schema={"enum": ["red"]}, suppress_tokens=every)
    assert texts(tokenizer, out.sequences, 3) == ['"red"'] * 5


def test_a_grammar_made_once_serves_calls_and_compiled_programs(model, tokenizer):
    grammar = tj.Grammar(tokenizer, json_schema=POINT)

    @jax.jit
    def run(ids):
        return tj.generate(
            model,
            ids,
            grammar=grammar,
            max_new_tokens=60,
            fixed_width=True,
            return_dict_in_generate=True,
        )

    for ids in (np.array([[20, 30, 40]]), np.array([[5, 6, 7]])):
        out, own = run(ids), tj.generate(model, ids, grammar=grammar, max_new_tokens=60)
        assert out.complete.all(), texts(tokenizer, out.sequences, 1)
        assert validates(texts(tokenizer, own, 3)[0], POINT)
        assert texts(tokenizer, own, 3) == texts(tokenizer, out.sequences, 3)


def test_a_decoder_of_a_source_and_a_forced_first_token(tokenizer):
    special = {f"{role}_token_id": tokenizer.special_id(role) for role in ROLES}
    sizes = dict(
        d_model=24,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
    )
    config = tj.BartConfig(
        vocab_size=tokenizer.max_id + 1,
        max_position_embeddings=128,
        **sizes,
        **special,
        decoder_start_token_id=special["eos_token_id"],
        forced_eos_token_id=special["eos_token_id"],
    )
    model = tj.from_config(config, head="seq2seq_lm", key=jax.random.key(0))
    for forced in (None, 17):
        out = tj.generate(
            model,
            [[5, 6, 7]],
            tokenizer=tokenizer,
            json_schema=COMPACT,
            forced_bos_token_id=forced,
            max_new_tokens=60,
            return_dict_in_generate=True,
        )
        assert out.complete.all()
        assert forced in (None, int(out.sequences[0, 1]))
        assert validates(texts(tokenizer, out.sequences, 1 + (forced is not None))[0], POINT)


def metaspace():
    """A vocabulary of pieces, as T5 has it: its decoder says nothing of bytes."""
    made = tokenizers.Tokenizer(models.Unigram())
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    options = dict(
        special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(
        WORDS + list('{}[]:,"0123456789abcdefghij'),
        trainers.UnigramTrainer(vocab_size=90, **options),
    )
    return made, 1


def learned(kind):
    made = train_tokenizer(kind, WORDS, 320, roles=ROLES)
    return made, made.special_id("eos")


@pytest.mark.parametrize(
    "make",
    [lambda: learned("byte"), lambda: learned("character"), lambda: learned("unigram"), metaspace],
    ids=["byte", "character", "unigram", "metaspace"],
)
def test_every_kind_of_tokenizer_writes_valid_texts(make):
    tokenizer, end = make()
    grammar = tj.Grammar(tokenizer, json_schema=POINT, eos_token_id=end)
    rng = np.random.default_rng(0)
    for _ in range(10):
        state, ids = grammar.start(), []
        while not state.done:
            ids.append(
                int(
                    rng.choice(
                        np.flatnonzero(
                            np.unpackbits(state.mask().view(np.uint8), bitorder="little")
                        )
                    )
                )
            )
            state.consume(ids[-1])
        assert validates(grammar.decode(ids), POINT)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"json_schema": {**INTEGER, "minimum": 5, "maximum": 3}}, r"cannot be met: minimum \(5\)"),
        ({"json_schema": {"enum": []}}, "cannot be met: anyOf is empty"),
        ({"json_schema": False}, "cannot be met: it is False"),
        ({"json_schema": "[]"}, "json_schema is .*expected an object"),
        ({"json_schema": {"type": "strin"}}, "json_schema cannot be read: Invalid type: strin"),
        ({"json_schema": "{bad"}, "json_schema is no JSON"),
        ({"json_schema": {"a": object()}}, "json_schema is no JSON"),
        ({"json_schema": [1]}, r"json_schema is \[1\]; expected a dict or its text"),
        ({"json_schema": {"type": "array", "uniqueItems": True}}, "enforce.*uniqueItems.*lenient"),
        ({"grammar": "strt: /a/"}, "grammar cannot be read: no start rule found\n.*rule `start"),
        ({"grammar": "start: foo"}, 'unknown name: "foo"'),
        ({"grammar": tj.Regex("[a-z")}, "unclosed character class"),
        ({"grammar": tj.Regex("(?=a)b")}, "look-around"),
        ({"grammar": tj.Regex(r"[^\s\S]")}, "grammar: no token can come next"),
        ({"grammar": re.compile("a")}, "expected the text of a Lark grammar"),
        ({"grammar": "start: /a/", "json_schema": INTEGER}, "one grammar: .*both came"),
        ({"json_schema": INTEGER, "tokenizer": None}, r"needs the tokenizer.*tj\.load_"),
        ({"json_schema": INTEGER, "tokenizer": "gpt2"}, "tokenizer is 'gpt2'; expected one that"),
        ({"json_schema": INTEGER, "eos_token_id": None}, "ends with an end-of-sequence token"),
        ({"json_schema": INTEGER, "eos_token_id": 300}, "eos_token_id is 300, and the tok"),
        ({"json_schema": INTEGER, "prompt_lookup_num_tokens": 3}, "do not go with assisted"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_one_clear_error(model, tokenizer, options, words):
    options = {"tokenizer": tokenizer, "max_new_tokens": 4, **options}
    with pytest.raises(ValueError, match=f"(?s){words}"):
        tj.generate(model, [[5, 6, 7]], **options)


def test_a_tokenizer_of_another_model_is_refused(tokenizer):
    small = of(train_tokenizer("byte", WORDS, 0, roles=ROLES))
    with pytest.raises(ValueError, match=r"ids up to 290, and the model scores 259 tokens"):
        tj.generate(small, [[5]], tokenizer=tokenizer, json_schema=INTEGER)
    grown = tj.resize_embeddings(small, 291, key=jax.random.key(0))  # as the error says
    assert tj.generate(grown, [[5]], tokenizer=tokenizer, json_schema=INTEGER).shape[0] == 1


def test_a_schema_says_which_space_there_is(tokenizer):
    for schema, allowed_space in ((POINT, True), (COMPACT, False), (json.dumps(COMPACT), False)):
        state = tj.Grammar(tokenizer, json_schema=schema).start()
        state.consume(tokenizer.encode("{")[0])
        assert (tokenizer.encode(" ")[0] in allowed(state)) == allowed_space


def test_keywords_that_are_not_enforced_can_be_left_out(tokenizer, caplog):
    schema = {"type": "array", "uniqueItems": True, "x-guidance": {"lenient": True}}
    assert tj.Grammar(tokenizer, json_schema=schema).start().mask().any()
    assert "uniqueItems" in caplog.text


def test_a_character_that_the_tokenizer_lacks_is_told(caplog):
    made = train_tokenizer("character", ["ab{}"], 0, roles=ROLES)
    with pytest.raises(ValueError, match=r"(?s)no token can come next.*row 0, after 'ab'"):
        tj.generate(of(made), [[0]], tokenizer=made, grammar='start: "ab" "c"', max_new_tokens=8)


def test_a_stream_and_texts_are_of_a_grammar(model, tokenizer, caplog):
    options = {"tokenizer": tokenizer, "json_schema": COMPACT, "max_new_tokens": 60}
    text = "".join(tj.stream(model, [[20, 30, 40]], **options))
    assert validates(text, POINT)
    assert not caplog.records
    assert validates(tj.generate(model, texts="to be", **options)[0], POINT)
    list(tj.stream(model, [[20, 30, 40]], **options | {"max_new_tokens": 2}))
    assert "row(s) 0;" in caplog.text
