"""A recurrent translator with additive attention (Bahdanau et al. 2014), where attention began.

A bidirectional GRU encodes; a GRU decodes, whose state attends to all states of the source before
each word. That is `nn.attention.Attention` with one head: the query is the decoder's state, the
keys are the source's tokens, the values are their states without a projection, and the score is
v . tanh(W s + U h) in place of a scaled product. `config["module"]` is "RecurrentTranslator": the
names of the weights are those of torch's own modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Int
from transformers_jax.graph import FULL, Mask, Nodes, connect, sequence, with_own
from transformers_jax.hub.table import Table, rows
from transformers_jax.inputs import checks
from transformers_jax.models.masks import by_stack
from transformers_jax.models.output import Output
from transformers_jax.models.reading import Reading
from transformers_jax.models.shared.weight_rows import HEADS_OUT, dense, layer
from transformers_jax.models.torch_attention import ModuleConfig
from transformers_jax.models.torch_modules import Translates
from transformers_jax.models.wiring import ShiftRight
from transformers_jax.models.wiring.decoding import cache_of_source
from transformers_jax.nn.attention import Attention, AttentionSpec
from transformers_jax.nn.embed import EmbedSpec, TokenEmbedder, nodes_of
from transformers_jax.nn.head import HeadInputs, LanguageModel, Square
from transformers_jax.nn.key_values import KeyValues
from transformers_jax.nn.recurrent import BothWays, Gru


class InitialBahdanau(spec.Initial):
    """Orthogonal recurrent matrices, normal(0.001) where queries and keys are projected, zero for
    the vector that scores them, normal(0.01) elsewhere (Bahdanau et al. 2014, appendix B.1)."""

    def draw(self, role: str, sizes: spec.Sizes) -> spec.Draw:
        rules = {
            "memory": spec.Draw("orthogonal", 1.0),
            "query": spec.Draw("normal", 1e-3),
            "key": spec.Draw("normal", 1e-3),
            "score": spec.ZEROS,
        }
        return rules.get(role, spec.Draw("normal", 1e-2))


class InitialTorch(spec.Initial):
    """What torch's own modules draw: normal(1) embeddings, and uniform within 1 / sqrt(fan-in), or
    1 / sqrt(hidden) in a GRU. Biases begin at zero here."""

    def draw(self, role: str, sizes: spec.Sizes) -> spec.Draw:
        if role == "table":
            return spec.Draw("normal", 1.0)
        fan = sizes["kv"] if role == "score" else sizes.get("hidden", sizes["embed"])
        return spec.Draw("uniform", fan**-0.5)


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig(ModuleConfig):
    """Sizes of a RecurrentTranslator; defaults are those of RNNsearch (appendix A.2).

    `context` says what the decoder reads of the source: by "attention" all of its states, or the
    only the "last" ones of the two directions, a bottleneck of fixed size (Cho et al. 2014). `init`
    is the rule of first weights: "bahdanau", the paper's, or "torch", from which AdamW learns in a
    tenth of the steps or fewer (docs/attention-history.md).
    """

    model_type = "recurrent"
    module = "RecurrentTranslator"
    is_encoder_decoder = True
    HEADS = {"RecurrentTranslator": "seq2seq_lm"}

    vocab_size: int = 30000
    embedding_size: int = 620
    hidden_size: int = 1000
    layers: int = 1
    context: Literal["attention", "last"] = "attention"
    init: Literal["bahdanau", "torch"] = "bahdanau"
    pad_token_id: int | None = 0
    decoder_start_token_id: int | None = 1

    def mask_names(self, head):
        return ("cross",)

    def to_dict(self):
        fields, cls = super().to_dict(), type(self)
        optional = ("context", "init", "pad_token_id", "decoder_start_token_id")
        return {k: v for k, v in fields.items() if k not in optional or v != getattr(cls, k)}

    def build(self, head, execution, mask=None) -> RecurrentTranslator:
        return RecurrentTranslator(self, by_stack(mask, "cross").get("cross"))

    def table(self, head) -> Table:
        text = "source.weight | embed.table\ntarget.weight | decoder_embed.table"
        for n in range(self.layers):
            text += unit(f"encoder.{{}}_l{n}", f"encoder.onward.{n}")
            text += unit(f"encoder.{{}}_l{n}_reverse", f"encoder.backward.{n}")
        text += layer("bridge", "bridge") + unit("decoder.{}", "writer")
        text += dense("attention.query", "attention.query", HEADS_OUT, None)
        text += dense("attention.key", "attention.key", HEADS_OUT, "(h k) -> h k")
        text += dense("attention.score", "attention.score.vector", "h k -> h k", None)
        return Table(rows(text + "\noutput.weight | head.table\noutput.bias | head.bias"))


def unit(theirs: str, ours: str) -> str:
    """The four tensors of a GRU; `{}` in their name is "weight_ih" and the like."""
    text = ""
    for name, role in (("ih", "input"), ("hh", "memory")):
        text += f"\n{theirs.format(f'weight_{name}')} | {ours}.{role} | (g h) e -> g e h"
        text += f"\n{theirs.format(f'bias_{name}')} | {ours}.{role}_bias | (g h) -> g h"
    return text


# ---------------------------------------------------------------- the model


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DecoderCache:
    """What decoding continues from: the state of the decoder, the keys and values of the source,
    the source's nodes, and how many words have been read."""

    state: Float[Array, "B H"]
    source: KeyValues
    nodes: Nodes
    length: Int[Array, ""]

    def gather(self, rows: Int[Array, " B"]) -> DecoderCache:
        """The rows of the batch in another order, possibly repeated."""
        return self._map(lambda leaf: jnp.take(leaf, rows, axis=0))

    def repeat(self, times: int) -> DecoderCache:
        """Every row `times` times, side by side."""
        return self._map(lambda leaf: jnp.repeat(leaf, times, axis=0))

    def reorder(self, rows: Int[Array, " B"], shared: int | Int[Array, ""] = 0) -> DecoderCache:
        """`gather` for rows that move only among the beams of one source, which stays; of the
        tokens that they share nothing is kept."""
        return replace(self, state=jnp.take(self.state, rows, axis=0))

    def _map(self, change) -> DecoderCache:
        """The cache with each array of rows changed."""
        state, source, nodes = jax.tree.map(change, (self.state, self.source, self.nodes))
        return DecoderCache(state, source, nodes, self.length)


class AttentionOverStates(Attention):
    """Attention of one head whose values are the states of the source themselves, and whose output
    is their average (Bahdanau et al. 2014, section 3.1)."""

    def __init__(self, attention: AttentionSpec, width: int, initial: spec.Initial):
        super().__init__(attention, width, initial)
        self.value = self.out = None

    def values_of(self, source, rotation=None):
        return source[:, :, None]

    def output(self, y):
        return y[:, :, 0]


class RecurrentTranslator(Translates):
    """Encodes with a bidirectional GRU, decodes with a GRU that attends.

        c_t = attend(s_{t-1}, h_1 ... h_S)        s_t = GRU([word_t, c_t], s_{t-1})
        logits_t = W [s_t, c_t, word_t] + b       s_0 = tanh(W_s h_1 backward + b_s)

    Takes `source_ids`, `source_mask`, `target_ids` (or Hugging Face's names of them) and `labels`;
    gives `logits` [B T V], `attention` [B T S], `encoder_states` [B S 2H] and `loss`. There is no
    noise in it.
    """

    is_encoder_decoder = True

    def __init__(self, config: RecurrentConfig, mask: Mask | None):
        initial = InitialBahdanau() if config.init == "bahdanau" else InitialTorch()
        V, E, H = config.vocab_size, config.embedding_size, config.hidden_size
        self.embed, self.decoder_embed = (
            TokenEmbedder(EmbedSpec(V, E, initial=initial)) for _ in range(2)
        )
        self.encoder = BothWays(E, H, config.layers, initial)
        self.bridge = Square(H, "tanh", initial)
        attention = AttentionSpec(
            heads=1,
            kv=H,
            source=2 * H,
            value=2 * H,
            mask=with_own(mask, FULL),
            bias=("key",),
            score=spec.Additive(),
        )
        self.attention = AttentionOverStates(attention, H, initial)
        self.writer = Gru(E + 2 * H, H, initial)
        self.head = LanguageModel(V, 3 * H + E, initial, tied=False, shift=False, bias=True)
        self.bottleneck = config.context == "last"
        self.shift = ShiftRight(config.decoder_start_token_id, config.pad_token_id)

    def encoder_forward(self, input_ids=None, attention_mask=None) -> Output:
        """The states of the source (zero at padding), and the last ones of both directions."""
        words = self.embed.embed_ids(input_ids, self.dtype)
        valid = None if attention_mask is None else jnp.asarray(attention_mask) > 0
        states, last = self.encoder(words, valid)
        return Output(last_hidden_state=states, onward_state=last[0], backward_state=last[1])

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        decoder_input_ids=None,
        encoder_outputs=None,
        key=None,
        cache=None,
        **labels,
    ) -> Output:
        """The logits of each next word, from those before it."""
        if encoder_outputs is None and cache is None:
            encoder_outputs = self.encoder_forward(input_ids, attention_mask)
        if decoder_input_ids is None:
            decoder_input_ids = self.shift.shifted(input_ids, labels.get("labels"))
        carry = cache
        if encoder_outputs is not None:
            carry = self.init_cache(len(decoder_input_ids), 0, encoder_outputs, attention_mask)
        words = self.decoder_embed.embed_ids(decoder_input_ids, self.dtype)

        def step(carry: DecoderCache, word):
            context, weights = self._attend(carry)
            state = self.writer.step(jnp.concatenate([word, context], -1), carry.state)
            carry = replace(carry, state=state, length=carry.length + 1)
            return carry, (jnp.concatenate([state, context, word], -1), weights)

        carry, steps = jax.lax.scan(step, carry, jnp.moveaxis(words, 1, 0))
        x, weights = (jnp.moveaxis(part, 0, 1) for part in steps)
        inputs = HeadInputs({"input_ids": input_ids}, None, None, None, targets=True)
        return Output(
            **self.head(x, inputs, **labels),
            cache=None if cache is None else carry,
            attention=weights,
            encoder_states=encoder_outputs and encoder_outputs["last_hidden_state"],
        )

    def _attend(self, cache: DecoderCache) -> tuple[Float[Array, "B 2*H"], Float[Array, "B S"]]:
        """(the context that the decoder's state reads from the source, its attention weights)."""
        edges = connect(self.attention.spec.mask, sequence(1, start=cache.length), cache.nodes)
        query = cache.state[:, None]
        result = self.attention(query, edges, cache=cache.source, with_weights=True)
        assert result.weights is not None  # with_weights
        return result.x[:, 0], result.weights[:, 0, 0]

    def init_cache(
        self, batch, length, encoder_outputs, attention_mask=None, tags=None
    ) -> DecoderCache:
        """The cache of a decoder that has read the encoder's states and no word."""
        states = encoder_outputs["last_hidden_state"]
        onward, backward = encoder_outputs["onward_state"], encoder_outputs["backward_state"]
        if self.bottleneck:  # one node for the whole source
            states, attention_mask = jnp.concatenate([onward, backward], -1)[:, None], None
        valid = jnp.ones(states.shape[:2], jnp.int32) if attention_mask is None else attention_mask
        nodes = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, states.shape[:2]),
            nodes_of(states.shape[1], valid, tags),
        )
        source = KeyValues.of_source(*self.attention.project(states))
        return DecoderCache(self.bridge(backward), source, nodes, jnp.zeros((), jnp.int32))

    @property
    def reading(self):
        return Reading(
            writes=True,
            rewinds=False,
            cross=(self.attention.spec.mask,),
            vocabulary=self.config.target_vocab,
            source_vocabulary=self.embed.vocabulary,
        )

    def arguments(self, method="forward"):
        return (*super().arguments(method), *(self.head.labels if method == "forward" else ()))

    def encode(self, input_ids=None, **inputs: Any) -> Output:
        """The states of the source, of its ids and `attention_mask`."""
        return self.call("encoder_forward", input_ids=input_ids, **inputs)

    def begin(self, batch, length, source, **options):
        return cache_of_source(self, batch, length, source, **options)

    def advance(self, ids, columns, cache, **arguments):
        out = self(decoder_input_ids=ids, cache=cache, **arguments)
        return out.logits, out.cache

    def check(self, inputs: Mapping[str, Any], method: str = "forward") -> None:
        ids, target = inputs.get("input_ids"), inputs.get("decoder_input_ids")
        outputs, labels = inputs.get("encoder_outputs"), inputs.get("labels")
        cache: Any = inputs.get("cache")
        if ids is None and outputs is None and cache is None:
            raise ValueError("give source_ids (or encoder_outputs, or a cache that has read them)")
        checks.source_with_cache(cache, inputs, ("input_ids",))
        for name, value in (("source_ids", ids), ("target_ids", target)):
            if value is not None:
                checks.ids(name, value, self.config.target_vocab)
        source = None if ids is None else np.shape(ids)
        if outputs is not None:
            checks.encoded(outputs)
            encoded = np.shape(outputs["last_hidden_state"])[:2]
            checks.encoded_from(inputs, source or encoded, encoded, "source_ids")
            source = encoded
        if source is not None and "attention_mask" in inputs:
            checks.mask("source_mask", inputs["attention_mask"], source, "source_ids")
        if labels is not None:
            checks.integers("labels", labels, 2)
        words, name = (labels, "labels") if target is None else (target, "target_ids")
        if words is None:
            return
        rows = len(cache.state) if source is None else source[0]
        if rows != np.shape(words)[0]:
            raise ValueError(f"source_ids have {rows} rows, {name} {np.shape(words)[0]}")
        self.head.check(inputs, np.shape(words), name)
