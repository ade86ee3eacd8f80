"""Every objective with every family: trained, or refused in a sentence before anything is made."""

import dataclasses

import jax
import pytest

import transformers_jax as tj
from transformers_jax.data.config import Data
from transformers_jax.models import FAMILIES, MODULES, import_class
from transformers_jax.nn.param import bind, params
from transformers_jax.objectives import (
    OBJECTIVES,
    CausalLM,
    Denoising,
    FillInTheMiddle,
    MaskedLM,
    NextSentence,
    PrefixLM,
    objective,
)
from transformers_jax.training.compatible import check_objective, example_batch
from transformers_jax.training.config import TrainConfig
from transformers_jax.training.initial import abstract_model

LAYERS = "num_hidden_layers n_layer n_layers encoder_layers decoder_layers num_layers".split()
LAYERS += "num_decoder_layers num_encoder_layers layers".split()
CHANGES = {  # of families whose layers are described one by one
    "switch_transformers": dict(num_sparse_encoder_layers=1, num_sparse_decoder_layers=1),
    "gpt_neo": dict(attention_types=((("global",), 1),)),
}
KNOWN = {**FAMILIES, **MODULES}
FEW = {  # a family of each head and loss; all families with --optimized
    "gpt2": {"CausalLM"}, "llama": {"PrefixLM", "FillInTheMiddle"}, "roberta": {"MaskedLM"},
    "bert": {"NextSentence"}, "albert": {"SentenceOrder"}, "electra": {"ReplacedToken"},
    "t5": {"SpanCorruption"}, "umt5": {"UL2"}, "bart": {"Denoising"}, "pegasus": {"GapSentences"},
}  # fmt: skip


def run_of(model, target, rows=None, **data):
    rows = rows or ("padded" if target.single else "stream")
    return TrainConfig(model=model, objective=target, data=Data(rows=rows, **{"length": 32} | data))


def shallow(kind):
    """The default config of a family with a layer on each side."""
    family = import_class(KNOWN[kind])
    changes = CHANGES.get(kind, {})
    defaults = {field.name: field.default for field in dataclasses.fields(family)}
    return family(**changes, **{n: 1 for n in LAYERS if isinstance(defaults.get(n), int)})


def refusal(config):
    """Why a config is refused; "" if it is not."""
    try:
        check_objective(config)
    except ValueError as error:
        return str(error)
    return ""


def traced(config):
    """The shape of the loss of a config's model on a row of its objective."""
    model, loss = abstract_model(config), objective(config.objective.loss)
    of = lambda values: loss(bind(model, values), example_batch(config), jax.random.key(0))[0]
    return jax.eval_shape(of, params(model)).shape


@pytest.mark.parametrize("kind", KNOWN)
def test_an_objective_is_trained_by_a_family_or_refused_in_a_sentence(kind, request):
    model, taken = shallow(kind), set()
    for name, record in OBJECTIVES.items():
        config = run_of(model, record())
        if why := refusal(config):
            assert name in why or "ELECTRA" in why
            assert "\n" not in why
            continue
        taken.add(name)
        if name in FEW.get(kind, ()) or request.config.getoption("--optimized"):
            assert traced(config) == ()
    assert FEW.get(kind, set()) <= taken
    if taken and model.is_encoder_decoder:
        assert {"SpanCorruption", "UL2", "Denoising", "GapSentences"} <= taken


ENCODERS = ("bert", "big_bird", "camembert", "electra", "roberta", "roformer", "xlm-roberta")


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_is_not_trained_to_copy(kind):
    model = shallow(kind)
    for target in (CausalLM(), FillInTheMiddle()):
        for rows in ("stream", "packed", "padded"):
            with pytest.raises(ValueError, match=r"copy; pass --model\.is-decoder, or choose"):
                check_objective(run_of(model, target, rows))
    check_objective(run_of(model, PrefixLM()))  # its mask is causal but for the prefix
    if kind == "big_bird":  # what its blocks attend to has no order
        model = model.replace(attention_type="original_full")
    decoder = model.replace(is_decoder=True)  # as advised
    check_objective(run_of(decoder, CausalLM()))
    with pytest.raises(ValueError, match="predicts masked tokens from both of their sides"):
        check_objective(run_of(decoder, MaskedLM()))


GPT = tj.GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=600)


def stored(mask):
    return GPT.replace(transformers_jax={"mask": mask})


LEAKING = {
    "Full()": 2,
    "Near(right=3)": 2,
    "Near(left=4, right=1)": 2,
    "CAUSAL | Same('position')": None,
    "CAUSAL | Strided(4)": 2,  # by way of token 5
    "~CAUSAL": 2,
}


@pytest.mark.parametrize("mask", LEAKING)
def test_a_mask_that_shows_targets_is_refused_with_the_first(mask):
    config = run_of(stored(mask), CausalLM())
    if LEAKING[mask] is None:  # of one token itself
        return check_objective(config)
    message = f"token {LEAKING[mask]} is a target.* take the mask out of model.transformers_jax"
    with pytest.raises(ValueError, match=message):
        check_objective(config)
    return check_objective(run_of(GPT, CausalLM()))  # as advised


@pytest.mark.parametrize(
    ("mask", "length", "rows"),
    [
        ("CAUSAL | Strided(1500)", 2048, "stream"),
        ("CAUSAL | (Strided(1100) & Near(1100, 1100))", 1200, "stream"),
        ("CAUSAL | (Strided(1100) & Same('document'))", 1200, "packed"),  # of one that fills a row
        ("CAUSAL | (Near(right=4000) & Strided(4000))", 4097, "padded"),
    ],
)
def test_a_mask_is_checked_over_rows_of_the_length_of_the_run(mask, length, rows):
    model = stored(mask).replace(n_positions=8192)
    with pytest.raises(ValueError, match=r"is a target.* take the mask out"):
        check_objective(run_of(model, CausalLM(), rows, length=length))
    shorter = mask.replace("1500", "15").replace("1100", "11").replace("4000", "40")
    with pytest.raises(ValueError, match="is a target"):
        check_objective(run_of(stored(shorter), CausalLM(), rows, length=100))
    beyond = mask.replace("1500", "2500").replace("1100", "1300").replace("4000", "5000")
    check_objective(run_of(stored(beyond), CausalLM(), rows, length=length))  # which has no edge


def test_long_rows_are_checked_without_their_square():
    model = stored("Before('position') | Near(1, 0)").replace(n_positions=2**16)
    check_objective(run_of(model, CausalLM(), length=2**16))  # whose square has 4 * 10^9 edges


def test_masks_of_one_layer_and_of_a_decoder_are_read():
    t5 = tj.T5Config(num_layers=1, transformers_jax={"mask": {"decoder": "Full()"}})
    with pytest.raises(ValueError, match=r"Denoising predicts.*take the mask out"):
        check_objective(run_of(t5, Denoising()))
    encoder = t5.replace(transformers_jax={"mask": {"encoder": "CAUSAL"}})
    check_objective(run_of(encoder, Denoising()))  # which hides what may be seen: no harm
    check_objective(run_of(stored("CAUSAL & Near(left=4)"), CausalLM()))


def test_order_within_documents_is_order():
    """A mask that no rule proves causal is drawn: positions rise within a document."""
    config = run_of(stored("Before('position')"), CausalLM(), "packed")
    check_objective(config)
    reversed_ = run_of(stored("~Before('position')"), CausalLM(), "packed")
    with pytest.raises(ValueError, match="token 2 is a target"):
        check_objective(reversed_)


def test_a_mask_that_reads_tags_which_no_example_has_is_refused():
    with pytest.raises(ValueError, match="compares the tag 'speaker'"):
        check_objective(run_of(stored("CAUSAL & Same('speaker')"), CausalLM()))


def test_a_missing_head_is_told_with_the_objectives_that_fit():
    with pytest.raises(ValueError, match=r"head 'seq2seq_lm'.*gpt2 has.*CausalLM, PrefixLM") as e:
        check_objective(run_of(GPT, Denoising()))
    assert "MaskedLM" not in str(e.value)


def test_rows_that_an_objective_cannot_have_are_refused():
    with pytest.raises(ValueError, match=r"data\.rows must be padded"):
        check_objective(run_of(shallow("bert"), NextSentence(), "packed"))
