"""What families of standard blocks share, where their fields have the usual names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from transformers_jax.graph import CAUSAL, FULL, Mask, with_own
from transformers_jax.models.shared.blocks import BIASES, attention, block
from transformers_jax.models.shared.weight_rows import PROJECTIONS, block_rows, norm
from transformers_jax.models.wiring import EncoderDecoderFamily, OneTower
from transformers_jax.models.wiring.family import Side
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import EmbedSpec, PatchEmbedder, PatchSpec, pair
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.spec import Initial, LayerNorm, StackSpec


@dataclass(frozen=True, kw_only=True)
class StandardTower(OneTower):
    """The fields under the names that most families give them; defaults are of a base model."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12

    @property
    def initial(self) -> Initial:
        """normal(initializer_range) everywhere (Devlin et al. 2018, released code)."""
        return Initial(self.initializer_range)

    @property
    def layer_norm(self) -> LayerNorm:
        """Every norm of the model."""
        return LayerNorm(self.layer_norm_eps)

    def attend(self, mask: Mask | None) -> AttentionSpec:
        """Self-attention under this mask; by itself every token attends to every token."""
        own = attention(self, "hidden_size", "num_attention_heads", with_own(mask, FULL))
        return replace(own, dropout=self.attention_probs_dropout_prob)

    def feed_forward(self) -> FeedForwardSpec:
        """What each token computes."""
        return FeedForwardSpec(self.intermediate_size, self.hidden_act)

    def stack(
        self,
        mask: Mask | None,
        placement: Literal["pre", "post"] = "pre",
        cross: Mask | None = None,
    ) -> StackSpec:
        """Standard blocks under this mask, and with cross-attention under the mask `cross`."""
        own, rate = self.attend(mask), self.hidden_dropout_prob
        one = block(own, self.feed_forward(), self.layer_norm, placement, rate, cross)
        blocks = (one,) * self.num_hidden_layers
        return StackSpec(self.hidden_size, blocks, norm_hidden=False, initial=self.initial)


@dataclass(frozen=True, kw_only=True)
class TextTower(StandardTower):
    """Such a family whose tokens are words, with learned positions."""

    vocab_size: int = 30522
    max_position_embeddings: int = 512

    @property
    def stated_positions(self):
        return self.max_position_embeddings

    def embed(self) -> EmbedSpec:
        """Words + positions."""
        vocab, width, positions = self.vocab_size, self.hidden_size, self.max_position_embeddings
        return EmbedSpec(vocab, width, positions=positions, initial=self.initial)


@dataclass(frozen=True, kw_only=True)
class ImageTower(StandardTower):
    """Such a family whose tokens are the patches of an image, behind a token for its class."""

    image_size: int | tuple[int, ...] = 224
    patch_size: int | tuple[int, ...] = 16
    num_channels: int = 3

    def patches(self) -> PatchSpec:
        """How an image becomes vectors."""
        image, patch = pair(self.image_size), pair(self.patch_size)
        return PatchSpec(image, patch, self.num_channels, self.hidden_size, initial=self.initial)

    def embedder(self, head):
        return PatchEmbedder(self.patches())

    def spec(self, mask=None):
        """Pre-norm blocks in which every patch attends to every patch."""
        return self.stack(mask)


@dataclass(frozen=True, kw_only=True)
class StandardSides(EncoderDecoderFamily):
    """A family of an encoder and a decoder of standard blocks, whose fields and weights have BART's
    names.

    Class attributes:
        PLACEMENT: of the norms; a stack of pre-norm blocks ends with a norm of its own.
        BIASES: the projections of attention that have a bias.
    """

    is_encoder_decoder = True
    PLACEMENT: ClassVar[Literal["pre", "post"]] = "post"
    BIASES: ClassVar[tuple[str, ...]] = BIASES

    d_model: int = 1024
    encoder_layers: int = 12
    encoder_ffn_dim: int = 4096
    encoder_attention_heads: int = 16
    encoder_layerdrop: float = 0.0
    decoder_layers: int = 12
    decoder_ffn_dim: int = 4096
    decoder_attention_heads: int = 16
    decoder_layerdrop: float = 0.0
    activation_function: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    init_std: float = 0.02

    @property
    def initial(self) -> Initial:
        """normal(0.02) everywhere (the released code)."""
        return Initial(self.init_std)

    def spec(self, decoder: bool, own: Mask | None = None, cross: Mask | None = None) -> StackSpec:
        """Blocks of (self, ffn) or (self, cross, ffn)."""
        side = "decoder" if decoder else "encoder"
        get = lambda name: getattr(self, f"{side}_{name}")
        mask, other = with_own(own, CAUSAL if decoder else FULL), with_own(cross, FULL)
        attend = attention(self, "d_model", f"{side}_attention_heads", mask)
        attend = replace(attend, bias=self.BIASES, dropout=self.attention_dropout)
        act, rate = self.activation_function, self.activation_dropout
        ffn = FeedForwardSpec(get("ffn_dim"), act, dropout=rate)
        placed = (LayerNorm(), self.PLACEMENT, self.dropout)
        blocks = (block(attend, ffn, *placed, other if decoder else None),) * get("layers")
        last = LayerNorm() if self.PLACEMENT == "pre" else None
        drop = get("layerdrop")
        return StackSpec(self.d_model, blocks, last, layerdrop=drop, initial=self.initial)

    def words_and_positions(self, decoder: bool, positions: int) -> EmbedSpec:
        """How the ids of a side become vectors."""
        return EmbedSpec(
            vocab=self.target_vocab if decoder else self.vocab_size,  # type: ignore[attr-defined]
            width=self.d_model,
            padding_idx=self.pad_token_id,
            positions=positions,
            dropout=self.dropout,
            initial=self.initial,
        )

    def projections(self, side: Side) -> str:
        """The names of the projections of a side's self-attention."""
        return PROJECTIONS

    def side_rows(self, name, ours, embed):
        """The rows of one side: positions, norms, blocks. What a family lacks fills no row."""
        theirs, slot = f"{name}.layers.{{i}}", f"{ours}.blocks.{{slot}}"
        attends = "self_attn" if name == "encoder" else "self_attn encoder_attn"
        norms = "".join(f"{each}_layer_norm " for each in attends.split()) + "final_layer_norm"
        text = f"\n{name}.embed_positions.weight | {embed}.position"
        text += norm(f"{name}.layernorm_embedding", f"{embed}.norm")
        text += norm(f"{name}.layer_norm", f"{ours}.norm")
        return text + block_rows(theirs, slot, attends, self.projections(name), "fc1 fc2", norms)
