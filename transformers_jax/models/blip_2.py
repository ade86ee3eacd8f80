"""BLIP-2 (Li et al. 2023): latents attend to a vision tower (the Q-Former), and are words of a
decoder, or of an encoder-decoder. Hugging Face model_type "blip-2"; the Q-Former by itself is
"blip_2_qformer"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from transformers_jax.graph import FULL, with_own
from transformers_jax.hub.table import BACKBONE, Row, Table, rows
from transformers_jax.models.base import by_name
from transformers_jax.models.composite import CompositeConfig
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.opt import OPTConfig
from transformers_jax.models.output import Output
from transformers_jax.models.shared.image_text import VISION
from transformers_jax.models.shared.standard import ImageTower, StandardTower
from transformers_jax.models.shared.weight_rows import (
    S,
    attention,
    backbone,
    dense,
    feed_forward,
    layer,
    nested,
    norm,
)
from transformers_jax.models.wiring import ImageText, Network, Tower
from transformers_jax.nn.embed import LatentEmbedder, LatentSpec, Placeholder, Projection
from transformers_jax.nn.embed.vectors import VectorEmbedder
from transformers_jax.nn.head import TokenPooler
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import Branch, Initial, StackSpec

L = "encoder.layers.{i}"
QKV = f"{S}.self.query{{0}} {S}.self.key{{0}} {S}.self.value{{0}}"


@dataclass(frozen=True, kw_only=True)
class Blip2VisionConfig(ImageTower):
    """The fields of the vision tower, a ViT whose last state is normalised; defaults are
    ViT-g/14 (1B)."""

    model_type = "blip_2_vision_model"
    HEADS = {}
    PREFIX = "vision_model."
    ROWS = f"""
embeddings.class_embedding        | embed.cls        | 1 1 d -> d
embeddings.position_embedding     | embed.position   | 1 t d -> t d
embeddings.patch_embedding.weight | embed.patch      | d c p q -> c p q d
embeddings.patch_embedding.bias   | embed.patch_bias
{norm("post_layernorm", "stack.norm")}
{norm(f"{L}.layer_norm1", f"{S}.self_norm")}
{L}.self_attn.qkv.weight | {QKV.replace("{0}", "")}      | (n h k) d -> n d h k
{L}.self_attn.qkv.bias   | {QKV.replace("{0}", "_bias")} | (n h k) -> n h k
{dense(f"{L}.self_attn.projection", f"{S}.self.out", "d (h k) -> h k d")}
{norm(f"{L}.layer_norm2", f"{S}.ffn_norm")}
{feed_forward(f"{L}.mlp", f"{S}.ffn", "fc1 fc2")}
"""
    num_channels: ClassVar[int] = 3  # type: ignore[misc]
    hidden_dropout_prob: ClassVar[float] = 0.0  # type: ignore[misc]
    attention_probs_dropout_prob: ClassVar[float] = 0.0  # type: ignore[misc]

    hidden_size: int = 1408
    intermediate_size: int = 6144
    num_hidden_layers: int = 39
    num_attention_heads: int = 16
    patch_size: int | tuple[int, ...] = 14
    layer_norm_eps: float = 1e-6
    attention_dropout: float = 0.0
    initializer_range: float = 1e-10
    qkv_bias: bool = True

    def attend(self, mask):
        own = replace(super().attend(mask), dropout=self.attention_dropout)
        return own if self.qkv_bias else replace(own, bias=("out",))

    def spec(self, mask=None):
        return replace(super().spec(mask), final_norm=self.layer_norm)


@dataclass(frozen=True, kw_only=True)
class Blip2QFormerConfig(StandardTower):
    """The fields of the Q-Former, blocks of BERT in which latents attend to an image every
    `cross_attention_frequency` layers; defaults are those of the paper (section 3.1)."""

    model_type = "blip_2_qformer"
    FIXED = {"use_qformer_text_input": False}
    UNUSED = frozenset("vocab_size max_position_embeddings position_embedding_type".split())
    HEADS = {"Blip2QFormerModel": "none"}

    cross_attention_frequency: int = 2
    encoder_hidden_size: int = 1408
    pad_token_id: int | None = 0

    def spec(self, mask=None, source="vision"):
        """Post-norm blocks of self-attention, attention to the source, and an MLP."""
        own = self.attend(with_own(mask, FULL))
        placed: dict[str, Any] = dict(
            norm=self.layer_norm, placement="post", dropout=self.hidden_dropout_prob
        )
        cross = replace(own, source=self.encoder_hidden_size, mask=FULL)
        plain = Branch("self", own, **placed), Branch("ffn", self.feed_forward(), **placed)
        crossing = plain[0], Branch("cross", cross, source=source, **placed), plain[1]
        every = self.cross_attention_frequency
        blocks = tuple(plain if n % every else crossing for n in range(self.num_hidden_layers))
        return StackSpec(self.hidden_size, blocks, initial=self.initial)

    def build(self, head, execution, mask=None) -> Network:
        """The Q-Former by itself, of the vectors of a call (`query_embeds`)."""
        width, source = self.hidden_size, self.encoder_hidden_size
        norm, rate = self.layer_norm, self.hidden_dropout_prob
        states = VectorEmbedder("encoder_hidden_states", source, mask="encoder_attention_mask")
        queries = VectorEmbedder(
            "query_embeds", width, mask="attention_mask", norm=norm, dropout=rate
        )
        towers = {
            "states": Tower(states, Stack(StackSpec(source, ()), execution)),
            "stack": Tower(
                queries,
                Stack(self.spec(mask, "states"), execution),
                source="states",
                pooler=TokenPooler(width),
            ),
        }
        return Network(towers)

    def rows_of(self, theirs: str, embed: str, stack: str, spec: StackSpec) -> tuple[Row, ...]:
        """The rows of the Q-Former, whose embedder and stack have these paths."""
        names, layers = "attention.query attention.key attention.value output.dense", "{i}"
        q, s = f"{theirs}encoder.layer.{layers}", f"{stack}.blocks.{{slot}}"
        text = norm(f"{theirs}layernorm", f"{embed}.norm")
        for part, ours in (("attention", "self"), ("crossattention", "cross")):
            text += attention(f"{q}.{part}", f"{s}.{ours}", names)
            text += norm(f"{q}.{part}.output.LayerNorm", f"{s}.{ours}_norm")
        text += feed_forward(q, f"{s}.ffn", "intermediate_query.dense output_query.dense")
        text += norm(f"{q}.output_query.LayerNorm", f"{s}.ffn_norm")
        return backbone(text, spec.slots)

    def table(self, head) -> Table:
        return Table(self.rows_of("", "embed", "stack", self.spec(source="states")))


@dataclass(frozen=True, kw_only=True)
class Blip2Config(CompositeConfig):
    """The configs of the towers; defaults are BLIP-2 with OPT. What the language model reads begins
    with `num_query_tokens` image tokens, in whose places the latents stand."""

    model_type = "blip-2"
    PARTS = ("vision_config", "qformer_config", "text_config")
    KINDS = {"vision_config": Blip2VisionConfig, "qformer_config": Blip2QFormerConfig}
    UNUSED = frozenset(
        "image_text_hidden_size use_decoder_only_language_model initializer_factor".split()
    )
    SPELLINGS = {"image_token_id": "image_token_index"}
    HEADS = {"Blip2ForConditionalGeneration": "causal_lm", "Blip2Model": "causal_lm"}

    vision_config: FamilyConfig = field(default_factory=Blip2VisionConfig)
    qformer_config: FamilyConfig = field(default_factory=Blip2QFormerConfig)
    text_config: FamilyConfig = field(default_factory=OPTConfig)
    num_query_tokens: int = 32
    image_token_index: int | None = None
    initializer_range: float = 0.02

    @classmethod
    def from_dict(cls, values, *, ignore=()):
        usual = {"text_config": {"model_type": "opt"}}
        values = {name: {} for name in cls.PARTS} | usual | dict(values)
        return super().from_dict(values, ignore=ignore)

    def __post_init__(self):
        super().__post_init__()
        width = self.vision_config.hidden_size  # type: ignore[attr-defined]
        qformer = self.qformer_config.replace(encoder_hidden_size=width)
        object.__setattr__(self, "qformer_config", qformer)
        tied = self.text_config.tie_word_embeddings
        object.__setattr__(self, "tie_word_embeddings", tied)

    @property
    def vocab_size(self) -> int:
        """How many words the language model knows."""
        return self.text_config.target_vocab

    @property
    def ties(self):
        return tuple(tie.renamed("language_model.{}".format) for tie in self.text_config.ties)

    def resolved(self, same):
        if super().resolved(same) is self:
            return self
        text = self.text_config.replace(tie_word_embeddings=False)
        return self.replace(tie_word_embeddings=False, text_config=text)

    @property
    def target_vocab(self):
        return self.text_config.target_vocab

    def side(self, tower):
        return self.text_config

    @property
    def prompt(self):
        begin = self.text_config.bos_token_id
        held = self.image_token_index
        if held is None or begin is None:
            return ()
        return (held,) * self.num_query_tokens + (begin,)

    @property
    def initial(self) -> Initial:
        """normal(initializer_range)."""
        return Initial(self.initializer_range)

    @property
    def language_head(self) -> str:
        """The head of the language model."""
        return "seq2seq_lm" if self.text_config.is_encoder_decoder else "causal_lm"

    def build(self, head, execution, mask=None) -> Blip2:
        if self.image_token_index is None:
            raise ValueError(
                "Blip2Config: image_token_index is None, so that it is not known where images "
                "stand; give image_token_index=, the id of the token '<image>'"
            )
        q: Any = self.qformer_config
        latents = LatentSpec(
            self.num_query_tokens, q.hidden_size, q.layer_norm, q.hidden_dropout_prob
        )
        whole: Network = self.text_config.build(self.language_head, execution, mask)
        first, text = next(iter(whole.towers.items()))
        words: Any = text.embed
        project = Projection(q.hidden_size, text.stack.spec.width, self.initial)
        held = Placeholder(self.image_token_index)
        towers = {
            "vision": self.vision_config.build("none", execution).last,
            "qformer": Tower(
                LatentEmbedder(latents), Stack(q.spec(), execution), "vision", project=project
            ),
            **whole.towers,
            first: replace(text, embed=words.changed(placeholder=held), placed="qformer"),
        }
        return Blip2(
            towers,
            whole.head,
            shift=whole.shift,
            routing=whole.routing,
            output_of=whole.output_of,
        )

    def table(self, head) -> Table:
        q: Any = self.qformer_config
        vision = nested(self.vision_config.table("none"), "", VISION)
        same = "embed stack pooler head encoder decoder decoder_embed".split()
        text = nested(
            self.text_config.table(self.language_head), "language_model.", dict(zip(same, same))
        )
        own = rows(f"query_tokens | qformer_embed.latents | 1 l d -> l d\n{PROJECTION}")
        body = q.rows_of("qformer.", "qformer_embed", "qformer", q.spec())
        return Table(
            (*(row for row in vision.rows if row.group == BACKBONE), *own, *body, *text.rows),
            ignore=("*.position_ids", *text.ignore),
            aliases=text.aliases,
            ties=text.ties,
            computed=text.computed,
        )


PROJECTION = layer("language_projection", "qformer_project")


class Blip2(ImageText):
    """A tower "vision", the latents "qformer" that attend to it, and a language model whose first
    tower places them."""

    def get_image_features(self, pixel_values=None, **inputs: Any) -> Output:
        """The Q-Former over images; `pooler_output` Float[N L D] are the vectors of each image, as
        the language model reads them."""
        return self.call("qformer_forward", pixel_values=pixel_values, **inputs)

    @by_name
    def qformer_forward(self, **arguments: Any) -> Output:
        """The vision tower, and the latents that attend to it."""
        output: Mapping[str, Any] = self.tower_output("qformer", **arguments)
        return Output(**{**output, "pooler_output": self.states_of("qformer", output)})

    def further_fields(self, outputs, arguments):
        """`image_hidden_states`, Float[N*L D]: the vectors of all images, one after the other."""
        if "qformer" not in outputs:
            return {}
        vectors = self.states_of("qformer", outputs["qformer"])
        return {"image_hidden_states": vectors.reshape(-1, vectors.shape[-1])}
