"""Laws of virtual tokens: that they are tokens, wherever tokens are counted, masked or cached."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import transformers_jax as tj
from transformers_jax.data.tokenizers import train_tokenizer
from transformers_jax.nn.param import axes, combine, flatten, params, unflatten

P, V = 3, 64
IDS = np.random.default_rng(0).integers(3, 60, (2, 9))
PROMPT, PREFIX = tj.PromptTuning(tokens=P), tj.PrefixTuning(tokens=P)


@pytest.fixture(scope="module")
def gpt2():
    quiet = dict(embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)
    sizes = dict(vocab_size=V, n_positions=32, n_embd=24, n_layer=2, n_head=4)
    config = tj.GPT2Config(**sizes, **quiet, eos_token_id=None)
    return tj.from_config(config, head="causal_lm", key=jax.random.key(0))


@pytest.fixture(scope="module")
def windowed():
    """A rotary decoder whose tokens see few others, with fewer heads of keys than of queries."""
    config = tj.LlamaConfig(
        vocab_size=V,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        eos_token_id=None,
        initializer_range=0.3,
    )
    near = tj.CAUSAL & tj.Near(5, 0)
    return tj.from_config(config, head="causal_lm", key=jax.random.key(1), mask=near)


@pytest.fixture(scope="module")
def t5():
    config = tj.T5Config(
        vocab_size=V,
        d_model=24,
        d_kv=8,
        d_ff=32,
        num_layers=3,
        num_heads=4,
        initializer_factor=3.0,
        eos_token_id=None,
        pad_token_id=0,
        decoder_start_token_id=0,
    )
    return tj.from_config(config, head="seq2seq_lm", key=jax.random.key(2))


def close(a, b, atol=2e-5):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol, rtol=0)


def adapted(base, adapter, seed=3):
    return tj.adapt(base, adapter, key=jax.random.key(seed))


def values_of(model):
    ((_, values),) = flatten(tj.partition(model)[0]).items()
    return values


def with_values(model, values):
    ((path, _),) = flatten(tj.partition(model)[0]).items()
    return tj.bind(model, unflatten({path: jnp.asarray(values)}))


def keys_of(base, prompt):
    """The keys and values of these tokens, as a prefix has them."""
    base = base.with_layers("list")
    cache = base(input_ids=prompt[None], cache=tj.init_cache(base, 1, P)).cache
    layers = [(layer["self"].key, layer["self"].value) for layer in cache.layers]
    flat = lambda x: np.moveaxis(np.asarray(x)[0], 1, 0).reshape(P, -1)  # from [1 G P K]
    return np.concatenate([flat(x) for both in layers for x in both], 1)


# ---------------------------------------------------------------- what they compute


@pytest.mark.parametrize("name", ["gpt2", "windowed"])
def test_a_prompt_computes_what_its_vectors_do_in_front_of_the_text(name, request):
    base = request.getfixturevalue(name)
    model = adapted(base, PROMPT)
    words = base.token_table("stack")[IDS]
    front = np.broadcast_to(values_of(model), (2, P, 24))
    expected = base(inputs_embeds=np.concatenate([front, words], 1)).logits[:, P:]
    out = model(input_ids=IDS, labels=IDS, output_hidden_states=True, output_attentions=True)
    close(out.logits, expected)
    close(model(inputs_embeds=words).logits, expected)
    assert np.abs(out.logits - base(input_ids=IDS).logits).max() > 1e-2
    other = with_values(model, values_of(model) * np.array([[1], [-1], [2]]))
    assert np.abs(other(input_ids=IDS).logits - expected).max() > 1e-3
    nll = -jax.nn.log_softmax(expected)[np.arange(2)[:, None], np.arange(8), IDS[:, 1:]]
    close(out.loss, nll.mean())  # labels are those of the text
    assert {states.shape for states in out.hidden_states} == {(2, 9, 24)}
    assert {weights.shape for weights in out.attentions} == {(2, 4, 9, P + 9)}
    close(out.attentions[0].sum(-1), np.ones((2, 4, 9)))


@pytest.mark.parametrize("name", ["gpt2", "windowed"])
def test_a_prefix_of_the_keys_of_a_text_computes_what_the_text_does_in_front(name, request):
    base = request.getfixturevalue(name)
    prompt = np.array([7, 50, 21])
    model = with_values(adapted(base, PREFIX), keys_of(base, prompt))
    rows = np.concatenate([np.broadcast_to(prompt, (2, P)), IDS], 1)
    expected = base(input_ids=rows).logits[:, P:]
    close(model(input_ids=IDS).logits, expected)
    assert np.abs(model(input_ids=IDS).logits - base(input_ids=IDS).logits).max() > 1e-2


@pytest.mark.parametrize("adapter", [PROMPT, PREFIX], ids=["prompt", "prefix"])
def test_padding_does_not_matter(windowed, gpt2, adapter):
    """On the right; and on the left, where each row has its virtual tokens behind its padding."""
    mask = np.ones((2, 9), int)
    mask[1, 6:] = 0
    base = windowed if adapter is PROMPT else gpt2
    model = adapted(base, adapter)
    short = model(input_ids=IDS[1:, :6]).logits
    close(model(input_ids=IDS, attention_mask=mask).logits[1:, :6], short)
    left = np.concatenate([IDS[:, 6:], IDS[:, :6]], 1)
    positions = np.where(mask[:, ::-1] > 0, np.cumsum(mask[:, ::-1], 1) - 1, 0)
    call = dict(attention_mask=mask[:, ::-1], position_ids=positions)
    close(model(input_ids=left, **call).logits[1:, 3:], short)
    # what the padding holds is of no account, and the mask is
    changed = np.where(call["attention_mask"] > 0, left, 5)
    close(model(input_ids=changed, **call).logits[1:, 3:], short)
    without = model(input_ids=changed, position_ids=positions).logits[1:, 3:]
    assert np.abs(without - short).max() > 1e-3


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("xla", "reference")]


@pytest.mark.parametrize("engine", ["tiled", *SLOW])
def test_every_engine_and_layout_computes_the_same(windowed, engine):
    mask = np.array([[0, 0, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 0, 0]])
    for adapter in (PROMPT, PREFIX):
        model = adapted(windowed, adapter)
        expected = model(input_ids=IDS, attention_mask=mask).logits
        other = tj.bind(model.abstract(attention=engine, unroll=False), params(model))
        close(mask[..., None] * other(input_ids=IDS, attention_mask=mask).logits,
              mask[..., None] * expected)  # fmt: skip
        as_list = other.with_layers("list")
        close(as_list(input_ids=IDS).logits, model(input_ids=IDS).logits)


# ---------------------------------------------------------------- caches and generation


@pytest.mark.parametrize("adapter", [PROMPT, PREFIX], ids=["prompt", "prefix"])
def test_a_cache_holds_them_once_from_its_first_call(windowed, adapter):
    model = adapted(windowed, adapter)
    whole = model(input_ids=IDS).logits
    cache, parts = tj.init_cache(model, 2, 9), []
    assert cache.awaited == P
    for part in (IDS[:, :1], IDS[:, 1:6], IDS[:, 6:]):
        out = model(input_ids=part, cache=cache)
        cache, parts = out.cache, [*parts, out.logits]
    assert cache.awaited == 0
    assert int(cache.length) == P + 9
    close(np.concatenate(parts, 1), whole)
    with pytest.raises(ValueError, match="1 more do not fit"):
        model(input_ids=IDS[:, :1], cache=cache)


@pytest.mark.parametrize("adapter", [PROMPT, PREFIX], ids=["prompt", "prefix"])
def test_a_text_is_continued_as_whole_rows_say_whatever_pads_it(windowed, adapter):
    """Prompts of one token, which the first call does not read, and longer than the window."""
    model, limits = adapted(windowed, adapter), dict(max_new_tokens=6, pad_token_id=0)
    for start in (1, 4, 9):
        ragged = np.stack([IDS[0], np.pad(IDS[1, :start], (9 - start, 0))])
        mask = np.array([[1] * 9, [0] * (9 - start) + [1] * start])
        texts = tj.generate(model, ragged, attention_mask=mask, **limits)
        for row, count in ((0, 9), (1, start)):
            text = np.zeros((1, 15), int)
            text[0, : count + 6] = texts[row, 9 - count :]
            best = np.argmax(model(input_ids=text).logits[0], -1)
            assert (best[count - 1 : count + 5] == texts[row, 9:]).all(), (start, row)


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [PROMPT, PREFIX], ids=["prompt", "prefix"])
def test_beams_of_a_row_do_not_depend_on_the_others(windowed, adapter):
    model = adapted(windowed, adapter)
    limits = dict(max_new_tokens=6, pad_token_id=0, num_beams=3)
    ragged = np.stack([IDS[0], np.r_[[0] * 5, IDS[1, :4]]])
    mask = np.array([[1] * 9, [0] * 5 + [1] * 4])
    both = tj.generate(model, ragged, attention_mask=mask, **limits)
    alone = tj.generate(model, IDS[1:, :4], **limits)
    assert (both[1:, 9:] == alone[:, 4:]).all()


@pytest.mark.parametrize("adapter", [PROMPT, PREFIX], ids=["prompt", "prefix"])
def test_an_encoder_and_a_decoder_are_continued_as_whole_rows_say(t5, adapter):
    model, mask = adapted(t5, adapter), np.array([[1] * 9, [1] * 6 + [0] * 3])
    text = np.asarray(tj.generate(model, IDS, attention_mask=mask, max_new_tokens=5))
    out = model(input_ids=IDS, attention_mask=mask, decoder_input_ids=text[:, :-1])
    assert (np.argmax(out.logits, -1) == text[:, 1:]).all()
    encoded = model.encode(IDS, attention_mask=mask)
    assert encoded.last_hidden_state.shape[1] == 9 + P * (adapter is PROMPT)
    again = tj.generate(model, encoder_outputs=encoded, attention_mask=mask, max_new_tokens=5)
    assert (again == text).all()
    call = dict(encoder_outputs=encoded, attention_mask=mask, decoder_input_ids=text[:, :-1])
    close(model(**call).logits, out.logits)
    alone = model(input_ids=IDS[1:, :6], decoder_input_ids=text[1:, :-1]).logits
    close(alone, out.logits[1:])
    without = t5(input_ids=IDS, attention_mask=mask, decoder_input_ids=text[:, :-1])
    assert np.abs(without.logits - out.logits).max() > 1e-2
    loss = model(input_ids=IDS, attention_mask=mask, labels=text[:, 1:]).loss
    nll = -jax.nn.log_softmax(out.logits)[np.arange(2)[:, None], np.arange(5), text[:, 1:]]
    close(loss, nll.mean())


# ---------------------------------------------------------------- training and files


@pytest.mark.parametrize(
    "adapter",
    [PROMPT, tj.PrefixTuning(tokens=P, projection=True, hidden=5)],
    ids=["prompt", "projection"],
)
def test_a_step_trains_and_holds_the_virtual_tokens_only(gpt2, adapter, tmp_path):
    model = adapted(gpt2, adapter)
    trained, frozen = tj.partition(model)
    optimizer = tj.AdamW(peak=1e-2).build(axes(model), 10)
    step = tj.make_step(model, tj.causal_lm, optimizer)
    state = tj.init_state(model, optimizer, jax.random.key(2))
    before = jax.tree.map(np.asarray, frozen)
    assert flatten(state.params).keys() == flatten(trained).keys()
    assert all("virtual" in path for path in flatten(trained))
    losses = []
    for _ in range(3):
        state, metrics = step(state, {"input_ids": IDS})
        losses.append(float(metrics["loss"]))
    assert losses[2] < losses[0]
    after = tj.bind(model, state.params)
    jax.tree.map(np.testing.assert_array_equal, tj.partition(after)[1], before)
    for path, x in flatten(tj.partition(after)[0]).items():
        assert np.abs(x - flatten(trained)[path]).max() > 0, path
    tj.save_adapter(after, tmp_path)
    loaded = tj.load_adapter(gpt2, tmp_path)
    close(loaded(input_ids=IDS).logits, after(input_ids=IDS).logits, 1e-6)
    assert loaded.plan.adapter.file["num_virtual_tokens"] == P
    width = 24 * (1 if adapter is PROMPT else 2 * 2)
    assert values_of(loaded).shape == (P, width)  # of a projection its result
    assert flatten(params(tj.without_adapter(loaded))).keys() == flatten(params(gpt2)).keys()


@pytest.mark.slow
def test_micro_batches_give_the_step_of_the_whole_batch(gpt2):
    model, results = adapted(gpt2, PREFIX), []
    for accumulate in (1, 2):
        step = tj.make_step(model, tj.causal_lm, optax.sgd(1e-1), accumulate=accumulate)
        state = tj.init_state(model, optax.sgd(1e-1), jax.random.key(2))
        results.append(step(state, {"input_ids": IDS})[0].params)
    jax.tree.map(close, *results)


def test_a_prompt_begins_as_the_words_of_a_text_or_of_the_vocabulary(gpt2, tmp_path):
    table = gpt2.token_table("stack")
    model = tj.adapt(gpt2, tj.PromptTuning(tokens=5, init=(7, 50)))  # nothing is drawn
    close(values_of(model), table[np.array([7, 50, 7, 50, 7])], 0)
    drawn = values_of(adapted(gpt2, tj.PromptTuning(tokens=5, init="vocabulary")))
    assert all((np.asarray(table) == row).all(1).any() for row in np.asarray(drawn))
    texts = ["a good film", "an awful film"]
    tokenizer = train_tokenizer("wordpiece", texts, V, roles=("pad", "unk", "cls", "sep"))
    tokenizer.save(tmp_path)
    ids = tokenizer.batch(["a film"])["input_ids"][0]
    begun = tj.PromptTuning(tokens=2, init="a film", tokenizer=str(tmp_path))
    model = tj.adapt(gpt2, begun)
    close(values_of(model), table[np.array(ids[:2])], 0)
    tj.save_adapter(model, tmp_path / "adapter")
    read = tj.load_adapter(gpt2, tmp_path / "adapter").plan.adapter
    assert (read.init, read.tokenizer) == ("a film", str(tmp_path))
    for init, words in (("a film", "name the tokenizer"), ((7, V), "each from 0 to 63")):
        with pytest.raises(ValueError, match=words):
            tj.adapt(gpt2, tj.PromptTuning(init=init))
    with pytest.raises(ValueError, match=r"give key=jax.random.key"):
        tj.adapt(gpt2, PROMPT)


# ---------------------------------------------------------------- what is refused


def test_what_virtual_tokens_cannot_be_is_refused_with_the_reason(gpt2, windowed):
    for model in (adapted(gpt2, PROMPT), adapted(gpt2, PREFIX)):
        with pytest.raises(ValueError, match=r"no change of weights.*tj.save_adapter"):
            tj.merge_adapter(model)
        with pytest.raises(ValueError, match="combined are adapters of LoRA alone"):
            tj.combine_adapters([model, model], [0.5, 0.5])
        with pytest.raises(ValueError, match=r"parts a row into several.*--data.rows padded"):
            model.with_mask(tj.OWN & tj.Same("document"))
        with pytest.raises(ValueError, match=r"takes 30 positions.*3 more.*has 32; truncate to 29"):
            model(input_ids=np.ones((1, 30), int))
        model(input_ids=np.ones((1, 29), int))
        with pytest.raises(ValueError, match=r"prompt \(9\).*has 29 positions"):
            tj.generate(model, IDS, max_new_tokens=21)
        masked = model.with_mask(tj.OWN & tj.Dense("edges"))
        with pytest.raises(ValueError, match="pairs say nothing of the 3 virtual tokens"):
            masked(input_ids=IDS, pairs={"edges": np.ones((2, 9, 9), bool)})
    with pytest.raises(ValueError, match="at least 1"):
        tj.PromptTuning(tokens=0)
    with pytest.raises(ValueError, match="set projection=True"):
        tj.PrefixTuning(hidden=5)


@pytest.mark.parametrize("adapter", [PROMPT, PREFIX], ids=["prompt", "prefix"])
@pytest.mark.slow
def test_every_layout_and_remat_have_the_same_gradient(windowed, adapter):
    model = adapted(windowed, adapter)

    def gradient(model):
        apply, _ = tj.functional(model)
        trained, frozen = tj.partition(model)
        loss = lambda trained: apply(combine(trained, frozen), input_ids=IDS, labels=IDS).loss
        return flatten(jax.jit(jax.grad(loss))(trained))

    expected = gradient(model)
    for other in (
        tj.bind(model.abstract(unroll=False, remat="full"), params(model)),
        model.with_layers("list"),
    ):
        jax.tree.map(close, gradient(other), expected)
    assert all(np.abs(x).max() > 1e-4 for x in expected.values())


SIZES = dict(num_hidden_layers=2, hidden_size=24, num_attention_heads=4, intermediate_size=32)


@pytest.mark.parametrize(
    ("config", "head", "adapter", "words"),
    [
        (lambda: tj.ViTConfig(image_size=8, patch_size=4, **SIZES), "none", PROMPT, "pixel_values"),
        (lambda: tj.AlbertConfig(vocab_size=V, embedding_size=8, **SIZES), "none", None, ""),
        (
            lambda: tj.SwitchTransformersConfig(
                vocab_size=V, d_model=24, d_kv=6, d_ff=32, num_layers=2, num_heads=4, num_experts=2
            ),
            "seq2seq_lm",
            PREFIX,
            "ExpertsSpec",
        ),
        (
            lambda: tj.LongformerConfig(vocab_size=V, attention_window=4, **SIZES),
            "none",
            PROMPT,
            "cut into blocks",
        ),
    ],
    ids=["pictures", "shared layers", "experts", "blocks"],
)
@pytest.mark.slow
def test_models_in_which_they_would_be_no_tokens_are_refused(config, head, adapter, words):
    base = tj.from_config(config(), head=head, key=jax.random.key(0))
    if adapter is None:  # and layers that share parameters have keys of their own
        model = adapted(base, PREFIX)
        assert values_of(model).shape == (P, 2 * 2 * 24)
        assert model(input_ids=IDS).last_hidden_state.shape == (2, 9, 24)
        return
    with pytest.raises(ValueError, match=words):
        adapted(base, adapter)
