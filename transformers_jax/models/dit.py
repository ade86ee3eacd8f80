"""DiT, a Transformer that takes noise out of images (Peebles and Xie 2022), as diffusers has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from transformers_jax.graph import FULL, with_own
from transformers_jax.models.shared.weight_rows import S, attention, feed_forward, layer
from transformers_jax.models.wiring import OneTower
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import ConditionSpec, NoisyImageEmbedder, PatchSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.head import Denoising
from transformers_jax.nn.residual import Modulate
from transformers_jax.sizes import nearest_multiples
from transformers_jax.spec import Branch, Initial, LayerNorm, StackSpec

L = "transformer_blocks.{i}"
EMB = f"{L}.norm1.emb"
CONDITION = f"""
{EMB}.timestep_embedder.linear_1.weight      | embed.condition.time_up        | m i -> i m
{EMB}.timestep_embedder.linear_1.bias        | embed.condition.time_up_bias
{EMB}.timestep_embedder.linear_2.weight      | embed.condition.time_down      | e m -> m e
{EMB}.timestep_embedder.linear_2.bias        | embed.condition.time_down_bias
{EMB}.class_embedder.embedding_table.weight  | embed.condition.classes
"""
MODULATED = " ".join(f"{S}.{name}_residual.{{part}}" for name in ("self", "ffn"))
ACTIVATIONS = {"gelu-approximate": "gelu_new", "gelu": "gelu"}
OF_OTHERS = (  # keys of an older class, which was several models
    *("cross_attention_dim", "num_vector_embeds", "caption_channels", "interpolation_scale"),
    "use_additional_conditions",
)
SWITCHES = ("use_linear_projection", "only_cross_attention", "double_self_attention")
SHARED = frozenset(
    """model_type architectures is_encoder_decoder tie_word_embeddings bos_token_id eos_token_id
    pad_token_id dtype""".split()
)
"""The keys of a config.json of transformers that diffusers does not write."""


@dataclass(frozen=True, kw_only=True)
class DiTConfig(OneTower):
    """The fields of a DiT config.json, as diffusers' DiTTransformer2DModel has it; defaults are
    DiT-XL/2 (675M). `num_embeds_ada_norm` is the number of classes."""

    model_type = "DiTTransformer2DModel"
    WEIGHTS = "diffusion_pytorch_model"
    HEADS = {"DiTTransformer2DModel": "denoising"}
    FIXED: ClassVar[dict[str, Any]] = {
        "norm_type": "ada_norm_zero",
        "attention_type": "default",
        **dict.fromkeys(OF_OTHERS, None),
        **dict.fromkeys(SWITCHES, False),
    }
    UNUSED = frozenset({"_class_name", "_diffusers_version"})
    HEAD_ROWS = {
        "denoising": "proj_out_1.weight | head.modulate | (p d) e -> e p d\n"
        "proj_out_1.bias | head.modulate_bias | (p d) -> p d" + layer("proj_out_2", "head.predict")
    }

    num_attention_heads: int = 16
    attention_head_dim: int = 72
    in_channels: int = 4
    out_channels: int | None = None
    num_layers: int = 28
    dropout: float = 0.0
    norm_num_groups: int = 32
    attention_bias: bool = True
    sample_size: int = 32
    patch_size: int = 2
    activation_fn: str = "gelu-approximate"
    num_embeds_ada_norm: int = 1000
    upcast_attention: bool = False
    norm_elementwise_affine: bool = False
    norm_eps: float = 1e-5

    def __post_init__(self):
        super().__post_init__()
        if self.sample_size % self.patch_size:
            near = nearest_multiples(self.sample_size, self.patch_size)
            raise ValueError(
                f"{type(self).__name__}: sample_size ({self.sample_size}) must be a multiple of "
                f"patch_size ({self.patch_size}); the nearest are {near}"
            )
        if self.activation_fn not in ACTIVATIONS:
            known = " or ".join(map(repr, ACTIVATIONS))
            raise ValueError(
                f"{type(self).__name__}: activation_fn={self.activation_fn!r}; expected {known}"
            )

    def to_dict(self):
        fields = {k: v for k, v in super().to_dict().items() if k not in SHARED}
        return {"_class_name": self.model_type, "norm_type": "ada_norm_zero", **fields}

    def architecture(self, head: str) -> str:
        """The class of diffusers'."""
        return self.model_type

    @property
    def width(self) -> int:
        """D, of the stream."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def initial(self) -> Initial:
        """normal(0.02); what modulates begins at zero (the released code)."""
        return Initial(0.02)

    def patches(self) -> PatchSpec:
        """How an image becomes vectors."""
        image, patch = (self.sample_size,) * 2, (self.patch_size,) * 2
        options: Any = dict(front=(), positions=None, initial=self.initial)
        return PatchSpec(image, patch, self.in_channels, self.width, **options)

    def embedder(self, head):
        of = ConditionSpec(self.num_layers, self.num_embeds_ada_norm, self.width, self.initial)
        return NoisyImageEmbedder(self.patches(), of)

    def spec(self, mask=None):
        """Pre-norm blocks, each of whose branches is modulated (adaLN-Zero)."""
        biased = ("query", "key", "value", "out") if self.attention_bias else ("out",)
        attend = AttentionSpec(
            self.num_attention_heads,
            self.attention_head_dim,
            mask=with_own(mask, FULL),
            bias=biased,
        )
        act, learned = ACTIVATIONS[self.activation_fn], self.norm_elementwise_affine
        compute = FeedForwardSpec(4 * self.width, act, dropout=self.dropout)
        norm = LayerNorm(self.norm_eps, shift=learned, scale=learned)
        modulate = Modulate(self.width)
        block = (
            Branch(
                "self",
                attend,
                norm=LayerNorm(1e-6, shift=False, scale=False),
                dropout=self.dropout,
                residual=modulate,
            ),
            Branch("ffn", compute, norm=norm, residual=modulate),
        )
        return StackSpec(self.width, (block,) * self.num_layers, initial=self.initial)

    def backbone(self):
        text = "pos_embed.proj.weight | embed.patch | d c p q -> c p q d\n"
        text += f"pos_embed.proj.bias | embed.patch_bias\n{CONDITION}"
        for part, layout in (("weight", "(n p d) e -> n e p d"), ("bias", "(n p d) -> n p d")):
            ours = MODULATED.replace("{part}", part)
            text += f"\n{L}.norm1.linear.{part} | {ours} | {layout}"
        names = "to_q to_k to_v to_out.0"
        text += attention(f"{L}.attn1", f"{S}.self", names, self.attention_bias)
        text += "" if self.attention_bias else f"\n{L}.attn1.to_out.0.bias | {S}.self.out_bias"
        if self.norm_elementwise_affine:
            text += f"\n{L}.norm3.weight | {S}.ffn_norm.scale\n{L}.norm3.bias | {S}.ffn_norm.shift"
        return text + feed_forward(f"{L}.ff.net", f"{S}.ffn", "0.proj 2")

    def head(self, head):
        out = self.in_channels if self.out_channels is None else self.out_channels
        return Denoising(self.patches(), out, self.width, self.initial)
