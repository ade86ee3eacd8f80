"""What decoders of LayerNorm share: GPT-J, GPT-NeoX, BLOOM, Falcon and others, whose fields and
tensors have the names of their authors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from transformers_jax.graph import CAUSAL, Mask, with_own
from transformers_jax.hub.table import Tying
from transformers_jax.models.config import Frozen
from transformers_jax.models.shared.blocks import BIASES, attention, block, in_parallel
from transformers_jax.models.shared.decoder_heads import decoder_head, decoder_rows
from transformers_jax.models.shared.rope import modern_rope, most_positions, rotary
from transformers_jax.models.shared.task_heads import first_of
from transformers_jax.models.shared.weight_rows import decoder_backbone
from transformers_jax.models.wiring import OneTower
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import EmbedSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.spec import Block, Initial, LayerNorm, Rotary, StackSpec

SUMMARY = frozenset(
    """summary_type summary_use_proj summary_activation summary_proj_to_labels
    summary_first_dropout""".split()
)
"""Keys that GPT-2 read for a summary of a text, in files of families that have none."""

AS_GPT2 = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
}
"""GPT-2's names of fields, by those of most families."""


@dataclass(frozen=True, kw_only=True)
class LayerNormDecoder(OneTower):
    """A decoder of causal self-attention and an MLP, with a LayerNorm in front of each and one
    behind the last layer.

    Class attributes:
        SIZES: the fields with the width, the number of heads and that of layers.
        INNER: the fields with the width and the activation of the MLP; without a width it is 4 D.
        PLACEMENT: of the norms of a layer; where they stand behind, there is none behind the last.
        EPS: the field with the epsilon of norms.
        RATES: the fields with the dropout of embeddings, of attention weights and of what joins
            the stream; "" for none.
        BIAS: the projections of attention that have a bias.
        TABLE: the names in files of the embeddings, of a layer and of the last norm.
        NORMS: of the norms of a layer: one, where its branches are in parallel behind one.
        ATTENTION: of attention, and of its projections in it: four, or two where queries, keys and
            values are one tensor (`fused`).
        MLP: of the layers of the MLP.
        ORDER: in which such a tensor holds them.
        WORDS, TOKENS: of the layers that predict words and that label tokens.
        WORDS_BIAS: whether the logits of words have a bias.
    """

    SIZES: ClassVar[str] = "hidden_size num_attention_heads num_hidden_layers"
    INNER: ClassVar[str] = "intermediate_size hidden_act"
    PLACEMENT: ClassVar[Literal["pre", "post"]] = "pre"
    EPS: ClassVar[str] = "layer_norm_epsilon"
    RATES: ClassVar[tuple[str, str, str]] = ("embd_pdrop", "attn_pdrop", "resid_pdrop")
    BIAS: ClassVar[tuple[str, ...]] = BIASES
    TABLE: ClassVar[str] = "wte h.{i} ln_f"
    NORMS: ClassVar[str] = "ln_1"
    ATTENTION: ClassVar[str] = "attn q_proj k_proj v_proj out_proj"
    MLP: ClassVar[str] = "mlp.fc_in mlp.fc_out"
    ORDER: ClassVar[str] = "query key value"
    WORDS: ClassVar[str] = "lm_head"
    TOKENS: ClassVar[str] = "classifier"
    WORDS_BIAS: ClassVar[bool] = False
    IGNORE = (  # causal masks and frequencies, which v4 stored
        *(f"*.{name}.bias" for name in ("attn", "attention")),
        *("*.masked_bias", "*.causal_mask", "*.rotary_emb.inv_freq"),
    )

    vocab_size: int
    initializer_range: float = 0.02
    classifier_dropout: float | None = None

    def sizes(self) -> list[int]:
        """The width of the stream, the number of heads and that of layers."""
        return [getattr(self, name) for name in self.SIZES.split()]

    @property
    def width(self) -> int:
        """The width of the stream."""
        return self.sizes()[0]

    @property
    def initial(self) -> Initial:
        """normal(initializer_range) everywhere, as transformers initialises it."""
        return Initial(self.initializer_range)

    @property
    def layer_norm(self) -> LayerNorm:
        """Every norm of the model."""
        return LayerNorm(getattr(self, self.EPS))

    @property
    def ties(self):
        return (Tying(f"{self.PREFIX}{self.TABLE.split()[0]}.weight", f"{self.WORDS}.weight"),)

    @property
    def rotation(self) -> Rotary | None:
        """The rotary positions of every layer."""
        return None

    @property
    def norms(self) -> str:
        """The names in files of the norms of a layer."""
        return self.NORMS

    @property
    def parallel(self) -> int | None:
        """Behind how many norms the branches of a layer are in parallel; None: they are not."""
        return 1 if len(self.norms.split()) == 1 else None

    @property
    def groups(self) -> int | None:
        """In how many groups of heads files hold queries, keys and values; None: in heads."""
        return None

    def rate(self, number: int) -> float:
        """The dropout that is the field of this number in `RATES`."""
        return getattr(self, self.RATES[number], 0.0)

    def attend(self, mask: Mask | None) -> AttentionSpec:
        """Self-attention under this mask, which by itself is causal."""
        width, heads, _ = self.SIZES.split()
        own = attention(self, width, heads, with_own(mask, CAUSAL))
        return replace(own, bias=self.BIAS, dropout=self.rate(1), rotary=self.rotation)

    def feed_forward(self) -> FeedForwardSpec:
        """What each token computes."""
        inner, activation = (getattr(self, name) for name in self.INNER.split())
        return FeedForwardSpec(inner or 4 * self.width, activation)

    def layer(self, own: AttentionSpec) -> Block:
        """A layer with this attention: its branches one behind the other, or in parallel."""
        one = block(own, self.feed_forward(), self.layer_norm, self.PLACEMENT, self.rate(2))
        return one if self.parallel is None else in_parallel(one, self.parallel)

    def stack(self, layers: tuple[Block, ...]) -> StackSpec:
        """These layers, and a norm behind the last."""
        last = self.layer_norm if self.PLACEMENT == "pre" else None
        return StackSpec(self.width, layers, last, initial=self.initial)

    def spec(self, mask=None):
        """Layers of causal attention and an MLP, all alike."""
        return self.stack((self.layer(self.attend(mask)),) * self.sizes()[2])

    def embed(self) -> EmbedSpec:
        """Words without positions."""
        return EmbedSpec(self.vocab_size, self.width, dropout=self.rate(0), initial=self.initial)

    def head(self, head):
        bias = self.WORDS_BIAS
        return decoder_head(self, head, self.width, self.initial, self.label_rate, bias=bias)

    @property
    def label_rate(self) -> float:
        """Dropout in front of the labels of tokens."""
        return first_of(self.classifier_dropout, getattr(self, "hidden_dropout", None), 0.1)

    def head_rows(self, head, tied):
        return decoder_rows(self.TOKENS, self.WORDS, self.WORDS_BIAS).get(head, "")

    def backbone(self):
        names = self.TABLE, self.norms, self.ATTENTION, self.MLP
        return decoder_backbone(*names, self.groups, self.ORDER)


def usual_rope(**more: float) -> Frozen:
    """Rotary positions without scaling."""
    return Frozen({"rope_type": "default", "rope_theta": 10000.0, **more})


@dataclass(frozen=True, kw_only=True)
class RotaryDecoder(LayerNormDecoder):
    """Such a decoder whose rotary positions are `rope_parameters`, of which the default says the
    part of a head that is rotated where nobody does."""

    max_position_embeddings: int = 2048
    rope_parameters: Frozen = usual_rope()

    @classmethod
    def modernise(cls, values):
        return modern_rope(super().modernise(values))

    def __post_init__(self):
        super().__post_init__()
        usual = type(self).rope_parameters
        parts = {name: x for name, x in usual.items() if name == "partial_rotary_factor"}
        object.__setattr__(self, "rope_parameters", Frozen(parts | dict(self.rope_parameters)))

    @property
    def stated_positions(self):
        return most_positions(self.rope_parameters, self.max_position_embeddings)

    @property
    def rotation(self):
        return rotary(self.rope_parameters, self.max_position_embeddings)
