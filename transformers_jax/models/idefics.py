"""Idefics (Laurençon et al. 2023), an open Flamingo (Alayrac et al. 2022): words attend to the
images that stand before them, in gated layers between those of a decoder. Hugging Face model_type
"idefics"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from transformers_jax.graph import FULL
from transformers_jax.hub.table import Table, Tying, rows
from transformers_jax.models.clip import CLIPVisionConfig
from transformers_jax.models.composite import CompositeConfig
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.frozen import Frozen
from transformers_jax.models.llama import LlamaConfig
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.image_text import VISION
from transformers_jax.models.shared.interleaved import (
    ImagesEmbedder,
    Interleaved,
    WordEmbedder,
    WordLogits,
)
from transformers_jax.models.shared.rope import modern_rope
from transformers_jax.models.shared.weight_rows import (
    attention,
    backbone,
    behind,
    dense,
    feed_forward,
    nested,
    norm,
    of_heads,
)
from transformers_jax.models.wiring import Tower
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import EmbedSpec, LatentEmbedder, LatentSpec
from transformers_jax.nn.embed.sets import members, sets
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.resampler import ResamplerSpec
from transformers_jax.nn.residual import Gate
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import (
    ONES,
    ZEROS,
    Branch,
    Draw,
    Initial,
    LayerNorm,
    RMSNorm,
    StackSpec,
)

ROPE = Frozen({"rope_type": "default", "rope_theta": 10000.0})
SAYS = "Int[B T N], to which of the N images of its row each token attends"


@dataclass(frozen=True, kw_only=True)
class IdeficsVisionConfig(CLIPVisionConfig):
    """The fields of the vision tower, CLIP's; defaults are ViT-H/14 (632M)."""

    model_type = "idefics_vision"
    HEADS = {}
    SPELLINGS = {"embed_dim": "hidden_size"}
    modality: ClassVar[str] = "vision"  # type: ignore[misc]
    projection_dim: ClassVar[int] = 0  # type: ignore[misc]

    intermediate_size: int = 5120
    num_hidden_layers: int = 32
    num_attention_heads: int = 16
    patch_size: int | tuple[int, ...] = 14
    hidden_act: str = "gelu"

    def to_dict(self):
        written = super().to_dict()
        return {"embed_dim": written.pop("hidden_size"), **written}

    def embedder(self, head):
        return ImagesEmbedder(self.patches())


@dataclass(frozen=True, kw_only=True)
class IdeficsPerceiverConfig(FamilyConfig):
    """The fields of the resampler."""

    model_type = "idefics_perciever"  # as the reference spells it
    UNUSED = frozenset({"use_resampler"})  # that of the whole says it

    resampler_n_latents: int = 64
    resampler_depth: int = 6
    resampler_n_heads: int = 16
    resampler_head_dim: int = 96
    qk_layer_norms_perceiver: bool = False


@dataclass(frozen=True, kw_only=True)
class IdeficsConfig(CompositeConfig):
    """The fields of an Idefics config.json; defaults are those of the class in Hugging Face. In
    front of every `cross_layer_interval`-th layer words attend to images, to what a resampler makes
    of each if `use_resampler`. Ids behind `vocab_size` are in tables of their own."""

    model_type = "idefics"
    PARTS = ("vision_config", "perceiver_config")
    KINDS = {"vision_config": IdeficsVisionConfig, "perceiver_config": IdeficsPerceiverConfig}
    UNUSED = frozenset(
        """freeze_text_layers freeze_text_module_exceptions freeze_lm_head freeze_vision_layers
        freeze_vision_module_exceptions""".split()
    )
    PREFIX = "model."
    TIES = (
        Tying("model.embed_tokens.weight", "lm_head.weight"),
        Tying("model.embed_tokens.additional_embedding.weight", "lm_head.additional_fc.weight"),
    )
    HEADS = heads_of("Idefics", "none", IdeficsForVisionText2Text="causal_lm")

    vision_config: FamilyConfig = field(default_factory=IdeficsVisionConfig)
    perceiver_config: FamilyConfig = field(default_factory=IdeficsPerceiverConfig)
    vocab_size: int = 32000
    additional_vocab_size: int | None = 0
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    dropout: float = 0.0
    hidden_act: str = "silu"
    initializer_range: float = 0.02
    alpha_initializer: str = "zeros"
    alphas_initializer_range: float = 0.0
    alpha_type: str = "float"
    rms_norm_eps: float = 1e-6
    max_position_embeddings: int = 2048
    rope_parameters: Frozen | None = ROPE
    cross_layer_interval: int = 1
    qk_layer_norms: bool = False
    use_resampler: bool = False
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | tuple[int, ...] | None = 2
    tie_word_embeddings: bool = False

    @classmethod
    def modernise(cls, values):
        return modern_rope(super().modernise(values))

    def __post_init__(self):
        super().__post_init__()
        if self.num_hidden_layers % self.cross_layer_interval:
            raise ValueError(
                f"IdeficsConfig: num_hidden_layers ({self.num_hidden_layers}) must be a multiple "
                f"of cross_layer_interval ({self.cross_layer_interval})"
            )
        if self.alpha_type not in ("float", "vector") or self.alpha_initializer not in ALPHAS:
            raise ValueError(
                f"IdeficsConfig: alpha_type={self.alpha_type!r}, alpha_initializer="
                f"{self.alpha_initializer!r}; known are float, vector and {', '.join(ALPHAS)}"
            )

    @property
    def target_vocab(self):
        return self.vocab_size + (self.additional_vocab_size or 0)

    @property
    def stated_positions(self):
        return self.max_position_embeddings

    @property
    def initial(self) -> Initial:
        """normal(initializer_range) everywhere, as transformers initialises it."""
        return Initial(self.initializer_range)

    @property
    def decoder(self) -> LlamaConfig:
        """The decoder between whose layers the gated ones stand."""
        return LlamaConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            hidden_act=self.hidden_act,
            max_position_embeddings=self.max_position_embeddings,
            initializer_range=self.initializer_range,
            rms_norm_eps=self.rms_norm_eps,
            rope_parameters=self.rope_parameters or ROPE,
            attention_dropout=self.dropout,
        )

    @property
    def source(self) -> str:
        """The tower to which words attend."""
        return "resampler" if self.use_resampler else "vision"

    @property
    def vision_width(self) -> int:
        """The width of what words attend to."""
        return self.vision_config.hidden_size  # type: ignore[attr-defined, no-any-return]

    def spec(self, mask=None) -> StackSpec:
        """Llama's blocks, the first of every interval behind gated branches (Alayrac et al. 2022,
        section 2.2)."""
        own, rate, norm = self.decoder.spec(mask), self.dropout, RMSNorm(self.rms_norm_eps)
        attend, compute = own.blocks[0]
        begins = {"zeros": ZEROS, "ones": ONES}.get(self.alpha_initializer)
        begins = begins or Draw("normal", self.alphas_initializer_range)
        gate = Gate(channels=self.alpha_type == "vector", begins=begins)
        cross = AttentionSpec(
            heads=self.num_attention_heads,
            kv=attend.op.kv,
            source=self.vision_width,
            mask=members("images", "image"),
            norm=norm if self.qk_layer_norms else None,
            dropout=rate,
        )
        gated = (
            Branch("cross", cross, norm, dropout=rate, source=self.source, residual=gate),
            Branch("cross_ffn", compute.op, norm, dropout=rate, residual=gate),
        )
        plain = tuple(replace(branch, dropout=rate) for branch in (attend, compute))
        blocks = ((*gated, *plain), *(plain,) * (self.cross_layer_interval - 1))
        repeats = self.num_hidden_layers // self.cross_layer_interval
        return replace(own, blocks=blocks * repeats, hidden_from="self")

    def resampler(self) -> StackSpec:
        """Latents that attend to an image and to themselves (Alayrac et al. 2022, section 2.1)."""
        p: Any = self.perceiver_config
        width, norm = self.vision_width, LayerNorm()
        attend = ResamplerSpec(
            heads=p.resampler_n_heads,
            kv=p.resampler_head_dim,
            mask=FULL,
            norm=norm if p.qk_layer_norms_perceiver else None,
            source_norm=norm,
        )
        block = (
            Branch("cross", attend, norm, source="vision"),
            Branch("ffn", FeedForwardSpec(4 * width, "relu", bias=False), norm),
        )
        return StackSpec(width, (block,) * p.resampler_depth, norm, initial=self.initial)

    def embed(self) -> EmbedSpec:
        """Words without positions; each has the set of images to which it attends."""
        tags = sets("image_attention_mask", "images", SAYS)
        embed = replace(self.decoder.embed(), tags=tags, unpadded=True)
        return replace(embed, padding_idx=self.pad_token_id)

    def build(self, head, execution, mask=None) -> Interleaved:
        towers = {"vision": self.vision_config.build("none", execution).last}
        if self.use_resampler:
            count = self.perceiver_config.resampler_n_latents  # type: ignore[attr-defined]
            latents = LatentSpec(count, self.vision_width, begins=Draw("normal", 1.0))
            towers["resampler"] = Tower(
                LatentEmbedder(latents), Stack(self.resampler(), execution), source="vision"
            )
        added = self.target_vocab - self.vocab_size
        towers["stack"] = Tower(
            WordEmbedder(self.embed(), added),
            Stack(self.spec(mask), execution),
            source=self.source,
            grouped="image",
        )
        sizes = (self.vocab_size, added, self.hidden_size, self.initial)
        answers = WordLogits(*sizes, tied=self.tie_word_embeddings) if head != "none" else None
        return Interleaved(towers, answers)

    # ------------------------------------------------------------ the table

    def backbone(self) -> str:
        """The rows of the words' tower."""
        more = "embed_tokens.additional_embedding.weight | embed.added\n"
        return more + self.decoder.ROWS

    def gates(self) -> str:
        """The rows of the gated layers, which are all in the first slot."""
        shape = "1 1 d -> d" if self.alpha_type == "vector" else "1 ->"
        names = "q_proj k_proj v_proj o_proj"
        return f"""
{attention(f"{C}.cross_attn", f"{X}.cross", names, bias=False)}
{norm(f"{C}.cross_attn.q_layer_norm", f"{X}.cross.query_norm", bias=False)}
{norm(f"{C}.cross_attn.k_layer_norm", f"{X}.cross.key_norm", bias=False)}
{norm(f"{C}.input_layernorm", f"{X}.cross_norm", bias=False)}
{feed_forward(f"{C}.mlp", f"{X}.cross_ffn", "gate_proj up_proj down_proj", bias=False)}
{norm(f"{C}.post_attention_layernorm", f"{X}.cross_ffn_norm", bias=False)}
{C}.alpha_cross_attn | {X}.cross_residual.gate     | {shape}
{C}.alpha_dense      | {X}.cross_ffn_residual.gate | {shape}
"""

    def table(self, head) -> Table:
        tied = self.tie_word_embeddings
        vision = nested(self.vision_config.table("none"), "model.", VISION)
        text = (*backbone(self.backbone(), self.spec().slots), *rows(self.gates()))
        text += rows(RESAMPLER if self.use_resampler else "")
        heads: Mapping[str, str] = {} if tied else {"causal_lm": OUTPUT}
        return Table(
            (*behind("model.", text), *vision.rows, *of_heads(heads, head)),
            prefix="model.",
            ignore=("*.position_ids", "*.rotary_emb.inv_freq", *vision.ignore),
            ties=self.ties if tied else (),
        )


ALPHAS = ("zeros", "ones", "normal", "gaussian", "random")
OUTPUT = "lm_head.weight | head.table\nlm_head.additional_fc.weight | head.added"
C, X = "gated_cross_attn_layers.{i}", "stack.blocks.0"
P, R = "perceiver_resampler.blocks.{i}", "resampler.blocks.0"
RESAMPLER = f"""
perceiver_resampler.latents | resampler_embed.latents
{norm("perceiver_resampler.layer_norm", "resampler.norm")}
{norm(f"{P}.0.context_layer_norm", f"{R}.cross.source_norm")}
{norm(f"{P}.0.latents_layer_norm", f"{R}.cross_norm")}
{norm(f"{P}.0.q_layer_norm", f"{R}.cross.query_norm")}
{norm(f"{P}.0.k_layer_norm", f"{R}.cross.key_norm")}
{attention(f"{P}.0", f"{R}.cross", "q_proj k_proj v_proj output_proj", bias=False)}
{norm(f"{P}.1.ln", f"{R}.ffn_norm")}
{dense(f"{P}.1.fc", f"{R}.ffn.up", bias=None)}
{dense(f"{P}.1.c_proj", f"{R}.ffn.down", "d f -> f d", None)}
"""
