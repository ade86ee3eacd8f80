"""Towers that make no network are refused when it is built."""

import pytest

from transformers_jax import CAUSAL, FULL
from transformers_jax.models.wiring import Network, Tower
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import EmbedSpec, TokenEmbedder
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


def tower(source=None, attended=None, embed=None):
    return Tower(embed or embedder(), stack(source if attended is None else attended), source)


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
    network = Network({"encoder": tower(embed=shared), "decoder": tower("encoder", embed=shared)})
    assert network.towers["decoder"].embed is shared  # its source's
    assert network.is_encoder_decoder
    assert not Network({"text": tower(), "vision": tower()}).is_encoder_decoder
