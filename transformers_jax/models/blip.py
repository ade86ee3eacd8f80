"""BLIP (Li et al. 2022): a tower for images, and one for texts that is compared with it, attends to
it, or describes it. Hugging Face model_type "blip"; each tower apart is "blip_text_model" and
"blip_vision_model"."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from transformers_jax.graph import CAUSAL, FULL, with_own
from transformers_jax.hub.table import Table, Tying, rows
from transformers_jax.models.bert import MLP, NORMS, PROJECTIONS, L
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.masks import by_stack
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.dual import DualTower, ProjectedDualConfig
from transformers_jax.models.shared.encoder_heads import words_head, words_rows
from transformers_jax.models.shared.standard import ImageTower, TextTower
from transformers_jax.models.shared.weight_rows import (
    HEADS_IN,
    S,
    block_rows,
    dense,
    embeddings,
    feed_forward,
    layer,
    nested,
    norm,
)
from transformers_jax.models.wiring import (
    Answering,
    AsLabels,
    Captioner,
    Network,
    Retrieval,
    Tower,
)
from transformers_jax.nn import head as heads
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import Initial

W = "cls.predictions"
WORDS = f"{W}.transform.dense {W}.transform.LayerNorm {W}"
V = "encoder.layers.{i}"
FUSED = f"{S}.self.query{{0}} {S}.self.key{{0}} {S}.self.value{{0}}"


@dataclass(frozen=True, kw_only=True)
class BlipTextConfig(TextTower):
    """The fields of a BLIP text config.json; defaults are those of BLIP-base (137M). With
    `is_decoder` there is cross-attention; whether tokens attend to later ones is said by the head.
    """

    model_type = "blip_text_model"
    FIXED = {"position_embedding_type": "absolute"}
    UNUSED = frozenset({"projection_dim", "initializer_factor"})
    PREFIX = "bert."
    POOLER = "pooler.dense"
    IGNORE = ("*.position_ids",)
    TIES = (
        Tying("bert.embeddings.word_embeddings.weight", f"{W}.decoder.weight"),
        Tying(f"{W}.bias", f"{W}.decoder.bias"),
    )
    ROWS = f"""
{embeddings("embeddings")}
{block_rows(L, S, "attention crossattention", PROJECTIONS, MLP, NORMS)}
"""
    HEADS = heads_of("BlipText", "none", BlipTextLMHeadModel="causal_lm")

    vocab_size: int = 30524
    num_attention_heads: int = 8
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    encoder_hidden_size: int = 768
    label_smoothing: float = 0.0
    is_decoder: bool = True
    bos_token_id: int | None = 30522
    eos_token_id: int | tuple[int, ...] | None = 2
    pad_token_id: int | None = 0
    sep_token_id: int | None = 102

    def build(self, head, execution, mask=None) -> Network:
        masks = dict(by_stack(mask))
        masks["decoder"] = with_own(masks.get("decoder"), CAUSAL if head == "causal_lm" else FULL)
        return super().build(head, execution, masks)

    def spec(self, mask=None, cross=None, source="encoder"):
        """Post-norm blocks of self-attention, attention to the tower `source`, and an MLP."""
        stack = self.stack(mask, "post", with_own(cross, FULL) if self.is_decoder else None)
        wide = lambda branch: replace(branch.op, source=self.encoder_hidden_size)
        blocks = tuple(
            tuple(replace(b, op=wide(b), source=source) if b.source else b for b in block)
            for block in stack.blocks
        )
        optional = self.is_decoder
        return replace(stack, blocks=blocks, source_optional=optional, norm_hidden=True)

    def embed(self):
        rate, pad = self.hidden_dropout_prob, self.pad_token_id
        return replace(super().embed(), padding_idx=pad, norm=self.layer_norm, dropout=rate)

    def pooler(self, head):
        return heads.Pooler(self.hidden_size, self.initial) if head == "none" else None

    def head(self, head):
        transform = (self.hidden_act, self.layer_norm)
        options: dict[str, Any] = dict(unused_bias=True, shift=True, smoothing=self.label_smoothing)
        return words_head(self, self.hidden_size, self.initial, transform, **options)

    def head_rows(self, head, tied):
        return words_rows(WORDS, "head", tied, True) if head == "causal_lm" else ""


@dataclass(frozen=True)
class InitialBlip(Initial):
    """normal(0.02), but positions and the class token normal(std) within two deviations."""

    def draw(self, role, sizes):
        own = role in ("position", "cls")
        return Initial(self.std if own else 0.02, cut=2.0 if own else None).draw(role, sizes)


@dataclass(frozen=True, kw_only=True)
class BlipVisionConfig(DualTower, ImageTower):
    """The fields of a BLIP vision config.json; defaults are those of BLIP-base (86M)."""

    model_type = "blip_vision_model"
    FIXED = {"dropout": 0.0, "num_channels": 3}
    UNUSED = frozenset({"projection_dim", "initializer_factor"})
    HEADS = heads_of("BlipVision", "none")
    ROWS = f"""
embeddings.class_embedding        | embed.cls      | 1 1 d -> d
embeddings.position_embedding     | embed.position | 1 t d -> t d
embeddings.patch_embedding.weight | embed.patch    | d c p q -> c p q d
embeddings.patch_embedding.bias   | embed.patch_bias
{V}.self_attn.qkv.weight | {FUSED.replace("{0}", "")} | (n h k) d -> n d h k
{V}.self_attn.qkv.bias   | {FUSED.replace("{0}", "_bias")} | (n h k) -> n h k
{dense(f"{V}.self_attn.projection", f"{S}.self.out", HEADS_IN)}
{norm(f"{V}.layer_norm1", f"{S}.self_norm")}
{feed_forward(V, f"{S}.ffn", "mlp.fc1 mlp.fc2")}
{norm(f"{V}.layer_norm2", f"{S}.ffn_norm")}
{norm("post_layernorm", "stack.norm")}
"""
    num_channels: ClassVar[int] = 3  # type: ignore[misc]  # no field here

    image_size: int | tuple[int, ...] = 384
    layer_norm_eps: float = 1e-5
    initializer_range: float = 1e-10

    @property
    def initial(self):
        return InitialBlip(self.initializer_range)

    def spec(self, mask=None):
        return replace(super().spec(mask), final_norm=self.layer_norm)

    def pooler(self, head):
        return heads.TokenPooler(self.hidden_size, again=True)


@dataclass(frozen=True, kw_only=True)
class BlipConfig(ProjectedDualConfig):
    """The configs of the towers, and of what compares them."""

    model_type = "blip"
    UNUSED = frozenset({"initializer_factor", "label_smoothing"})  # of towers they are read
    HEADS = {
        "BlipForConditionalGeneration": "causal_lm",
        "BlipModel": "contrastive",
        "BlipForQuestionAnswering": "visual_question_answering",
        "BlipForImageTextRetrieval": "image_text_retrieval",
    }

    text_config: FamilyConfig = field(default_factory=BlipTextConfig)
    vision_config: FamilyConfig = field(default_factory=BlipVisionConfig)
    image_text_hidden_size: int = 256
    initializer_range: float = 0.02

    def __post_init__(self):
        super().__post_init__()
        vision: Any = self.vision_config  # as in the reference, whatever the file says
        text = self.text_config.replace(encoder_hidden_size=vision.hidden_size)
        object.__setattr__(self, "text_config", text)

    @property
    def initial(self):
        return Initial(self.initializer_range)

    def side(self, tower):
        return self.text_config if tower == "decoder" else self.vision_config

    @property
    def vocab_size(self) -> int:
        """How many words the text tower knows."""
        return self.text_config.target_vocab

    @property
    def target_vocab(self):
        return self.text_config.target_vocab

    @property
    def ties(self):
        return tuple(tie.renamed("text_decoder.{}".format) for tie in self.text_config.ties)

    def mask_names(self, head):
        return ("encoder", "decoder", "cross") if head != "contrastive" else tuple(self.towers)

    def build(self, head, execution, mask=None):
        if head == "contrastive":
            return super().build(head, execution, mask)
        masks = by_stack(mask)
        image = self.vision_config.build("none", execution, masks.get("encoder")).last
        image = replace(image, pooler=None)
        own = {name: masks.get(name) for name in ("decoder", "cross")}
        writes = head != "image_text_retrieval"
        text = self.writer.build("causal_lm" if writes else "none", execution, own)
        decoder = replace(text.last, source="encoder", pooler=None)
        if head == "visual_question_answering":
            text_config: Any = self.text_config
            attends = Stack(text_config.spec(source="vision"), execution)
            question = Tower(text_config.embedder("none"), attends, source="vision")
            widths = image.stack.spec.width, attends.spec.width
            if len(set(widths)) > 1:
                raise ValueError(
                    f"BlipConfig: an answer attends to its question with weights of the image's "
                    f"width ({widths[0]}), and the question has {widths[1]}; give text_config and "
                    "vision_config one hidden_size"
                )
            decoder = replace(decoder, prefix="decoder_")
            three = {"vision": image, "encoder": question, "decoder": decoder}
            return Answering(three, text.head, shift=AsLabels(None, self.text_config.pad_token_id))
        towers = {"encoder": image, "decoder": decoder}
        if writes:
            return Captioner(towers, text.head)
        sizes = (text.last.stack.spec.width, image.stack.spec.width, self.image_text_hidden_size)
        return Retrieval(towers, heads.ImageTextMatching(*sizes, self.initial))

    @property
    def writer(self) -> FamilyConfig:
        """The config of the tower of texts, untied if its file is."""
        tied = self.tie_word_embeddings and self.text_config.tie_word_embeddings
        return self.text_config.replace(tie_word_embeddings=tied)

    def table(self, head) -> Table:
        kinds = {
            "causal_lm": ("causal_lm", "text_decoder."),
            "image_text_retrieval": ("none", "text_encoder."),
            "visual_question_answering": ("causal_lm", "text_decoder."),
        }
        if head not in kinds:
            return super().table(head)
        kind, name = kinds[head]
        ours = {"embed": "decoder_embed", "stack": "decoder", "head": "head"}
        inner = self.writer.table(kind)
        text = nested(inner, name, ours, bare=kind == "none")
        images, more = {"embed": "embed", "stack": "encoder"}, ()
        if head == "visual_question_answering":
            table = self.text_config.table("none")
            more = nested(table, "text_encoder.", images, bare=True).rows
            images = {"embed": "vision_embed", "stack": "vision"}
        image = nested(self.vision_config.table("none"), "vision_model.", images, bare=True)
        every = (*image.rows, *more, *text.rows)
        if head == "image_text_retrieval":
            every += rows(MATCHING, group=head)
        ignore = ("*.position_ids", *image.ignore, *text.ignore)
        return Table(every, ignore=ignore, ties=text.ties)


MATCHING = "".join(
    layer(theirs, f"head.{ours}")
    for theirs, ours in (("vision_proj", "vision"), ("text_proj", "text"), ("itm_head", "match"))
)
