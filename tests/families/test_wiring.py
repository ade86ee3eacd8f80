"""Towers that make no network are refused when it is built."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax import CAUSAL, FULL, sequence
from transformers_jax.models.wiring import Network, Tower
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import EmbedSpec, TokenEmbedder
from transformers_jax.nn.param import initialise
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import Branch, Execution, StackSpec


def embedder(vocabulary=20):
    return TokenEmbedder(EmbedSpec(vocabulary, 12))


def stack(source=None):
    """One layer, which attends to the stream and to a source."""
    attends = [Branch("self", AttentionSpec(3, 4, mask=CAUSAL if source else FULL))]
    if source is not None:
        attends.append(Branch("cross", AttentionSpec(3, 4), source=source))
    return Stack(StackSpec(12, (tuple(attends),)), Execution())


def tower(source=None, attended=None, embed=None, prefix=""):
    attends = stack(source if attended is None else attended)
    return Tower(embed or embedder(), attends, source, prefix)


SHARED = embedder()
WRONG = {
    "'encoder' is a name of the tower 'stack'|'embed' of the tower 'encoder' is a name of the": {
        "stack": tower(), "encoder": tower(),
    },
    "'head' of the tower 'head' is a name of the network": {"text": tower(), "head": tower()},
    "'text_embed' of the tower 'text_embed' is a name of the tower 'text'": {
        "text": tower(), "text_embed": tower(),
    },
    "'vision' has the embedder of 'text', which is not its source": {
        "text": tower(embed=SHARED), "vision": tower(embed=SHARED),
    },
    "the source of 'decoder' is 'audio'; the towers before it are 'encoder'": {
        "encoder": tower(), "decoder": tower("audio"),
    },
    "'decoder' has the source 'encoder', and its stack attends to 'audio'": {
        "encoder": tower(), "decoder": tower("encoder", attended="audio"),
    },
    "'decoder' has the source None, and its stack attends to 'encoder'": {
        "encoder": tower(), "decoder": Tower(embedder(), stack("encoder")),
    },
    "'decoder' has the source 'encoder', and its stack attends to only the stream": {
        "encoder": tower(), "decoder": Tower(embedder(), stack(), "encoder"),
    },
    "'decoder' and 'encoder' would both read the argument 'attention_mask'; give one a prefix": {
        "encoder": tower(), "decoder": tower("encoder"),
    },
    "'vision' and 'text' would both read the argument 'b_attention_mask'": {
        "text": tower(prefix="b_"), "vision": tower(prefix="b_"),
    },
    "a network has at least one tower; none came": {},
    **{f"{name!r} of the tower {name!r} is a name of the network": {name: tower()}
       for name in ("plan", "call", "generate", "dtype", "wires", "train")},
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_towers_that_make_no_network_are_refused(message):
    with pytest.raises(ValueError, match=message):
        Network(WRONG[message])


def test_all_errors_are_reported_at_once():
    towers = {"encoder": tower(), "head": tower("audio")}
    with pytest.raises(ValueError, match=r"source of 'head' is 'audio'.*'head' of the tower"):
        Network(towers)


def test_towers_that_fit_are_wired():
    shared = embedder()
    decoder = tower("encoder", embed=shared, prefix="decoder_")
    network = Network({"encoder": tower(embed=shared), "decoder": decoder})
    assert network.towers["decoder"].embed is shared  # its source's
    assert network.is_encoder_decoder
    vision = tower(prefix="vision_")
    assert not Network({"text": tower(), "vision": vision}).is_encoder_decoder


def test_a_tied_output_reads_a_tower_that_there_is():
    with pytest.raises(ValueError, match="output_of is 'decoder'; the towers are 'stack'"):
        Network({"stack": tower()}, output_of="decoder")


def test_a_network_built_by_hand_is_called_as_its_stack_says():
    network = initialise(Network({"stack": tower()}), jax.random.key(0))
    ids = jnp.array([[1, 4, 2]])
    x = network(input_ids=ids).last_hidden_state
    x_of_stack = network.stack(network.embed({"input_ids": ids}, dtype=x.dtype).x, sequence(3)).x
    np.testing.assert_allclose(x, x_of_stack, atol=1e-6)
    assert x.dtype == jnp.float32
    assert network.execution is network.stack.execution
    with pytest.raises(TypeError, match="Network has no argument 'pixels'"):
        network(pixels=ids)


def test_a_network_built_by_hand_says_what_needs_a_config(tmp_path):
    network = initialise(Network({"stack": tower()}), jax.random.key(0))
    for call in (
        lambda: network.config,
        lambda: network.with_layers("list"),
        lambda: network.save_pretrained(tmp_path),
        lambda: network.generate(jnp.array([[1, 2]])),
    ):
        with pytest.raises(AttributeError, match=r"not built from a config; .* tj\.from_config"):
            call()
    with pytest.raises(AttributeError, match=r"'Network' object has no attribute 'wheels'$"):
        network.wheels  # noqa: B018
