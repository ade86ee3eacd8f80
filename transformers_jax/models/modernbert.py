"""ModernBERT (Warner et al. 2024). Hugging Face model_type "modernbert".

An encoder with the parts of today's decoders: pre-norm, rotary positions, gated feed-forwards, no
biases. One layer in three attends to the whole row, the others to a window. The paper computes
without padding; here that is a packed row, `mask=OWN & Same("document")`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.graph import FULL, Near, with_own
from transformers_jax.hub.table import Tying
from transformers_jax.models.config import Frozen
from transformers_jax.models.shared.blocks import BIASES, attention, block
from transformers_jax.models.shared.class_names import CHOOSING, heads_of
from transformers_jax.models.shared.rope import rope_by_type, rotary
from transformers_jax.models.shared.task_heads import task_head
from transformers_jax.models.shared.weight_rows import HEADS_IN, S, layer, norm
from transformers_jax.models.wiring import OneTower
from transformers_jax.nn import head as heads
from transformers_jax.nn.embed import EmbedSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.pooling import Name
from transformers_jax.spec import Block, Initial, LayerNorm, StackSpec

BASES = {"full_attention": 160000.0, "sliding_attention": 10000.0}  # section 2.1.2
OLD_BASES = {"full_attention": "global_rope_theta", "sliding_attention": "local_rope_theta"}


L = "layers.{i}"


@dataclass(frozen=True, kw_only=True)
class ModernBertConfig(OneTower):
    """The fields of a ModernBERT config.json; defaults are ModernBERT-base (149M).

    `sparse_prediction` is not read: where there are labels the reference then answers for the
    masked words only, with the same loss; here all words have logits.
    """

    model_type = "modernbert"
    UNUSED = frozenset(
        """deterministic_flash_attn layer_norm_eps position_embedding_type
        reference_compile repad_logits_with_grad sparse_prediction sparse_pred_ignore_index
        """.split()
    )
    PREFIX = "model."
    TIES = (Tying("model.embeddings.tok_embeddings.weight", "decoder.weight"),)
    ROWS = f"""
embeddings.tok_embeddings.weight | embed.table
{norm("embeddings.norm", "embed.norm")}
{norm(f"{L}.attn_norm", f"{S}.self_norm")}
{L}.attn.Wqkv.weight | {S}.self.query {S}.self.key {S}.self.value | (n h k) d -> n d h k
{L}.attn.Wo.weight | {S}.self.out | {HEADS_IN}
{norm(f"{L}.mlp_norm", f"{S}.ffn_norm")}
{L}.mlp.Wi.weight | {S}.ffn.gate {S}.ffn.up | (n f) d -> n d f
{L}.mlp.Wo.weight | {S}.ffn.down | d f -> f d
{norm("final_norm", "stack.norm")}
{L}.attn.Wqkv.bias | {S}.self.query_bias {S}.self.key_bias {S}.self.value_bias | (n h k) -> n h k
{L}.attn.Wo.bias | {S}.self.out_bias
{L}.mlp.Wi.bias | {S}.ffn.gate_bias {S}.ffn.up_bias | (n f) -> n f
{L}.mlp.Wo.bias | {S}.ffn.down_bias
"""
    HEADS = heads_of("ModernBert", "none", "masked_lm", *CHOOSING)

    vocab_size: int = 50368
    hidden_size: int = 768
    intermediate_size: int = 1152
    num_hidden_layers: int = 22
    num_attention_heads: int = 12
    hidden_activation: str = "gelu"
    max_position_embeddings: int = 8192
    initializer_range: float = 0.02
    initializer_cutoff_factor: float | None = 2.0
    norm_eps: float = 1e-5
    norm_bias: bool = False
    attention_bias: bool = False
    attention_dropout: float = 0.0
    layer_types: tuple[str, ...] | None = None
    rope_parameters: Frozen = Frozen(
        {kind: {"rope_type": "default", "rope_theta": base} for kind, base in BASES.items()}
    )
    local_attention: int = 128
    embedding_dropout: float = 0.0
    mlp_bias: bool = False
    mlp_dropout: float = 0.0
    decoder_bias: bool = True
    classifier_pooling: str = "cls"
    classifier_dropout: float = 0.0
    classifier_bias: bool = False
    classifier_activation: str = "gelu"
    bos_token_id: int | None = 50281
    eos_token_id: int | tuple[int, ...] | None = 50282
    pad_token_id: int | None = 50283
    cls_token_id: int | None = 50281
    sep_token_id: int | None = 50282

    def __post_init__(self):
        super().__post_init__()
        types = self.types
        if len(types) != self.num_hidden_layers or set(types) - set(BASES):
            raise ValueError(
                f"ModernBertConfig: layer_types {list(types)}: expected one of {list(BASES)} for "
                f"each of the {self.num_hidden_layers} layers (num_hidden_layers)"
            )
        if self.classifier_pooling not in ("cls", "mean"):
            raise ValueError(
                f"ModernBertConfig: classifier_pooling={self.classifier_pooling!r}: expected 'cls' "
                "or 'mean'"
            )

    @classmethod
    def modernise(cls, values):
        values = super().modernise(values)
        every = values.pop("global_attn_every_n_layers", None)
        if every is not None and values.get("layer_types") is None:
            depth = values.get("num_hidden_layers", cls.num_hidden_layers)
            values["layer_types"] = list(types_of(depth, every))
        old = {kind: values.pop(name, BASES[kind]) for kind, name in OLD_BASES.items()}
        # a local base of None meant the global one
        bases = {kind: old["full_attention"] if x is None else x for kind, x in old.items()}
        rope = rope_by_type("ModernBertConfig", values, bases, scaled=BASES)
        return {**values, "rope_parameters": rope}

    @property
    def types(self) -> tuple[str, ...]:
        """What each layer attends to: the whole row, or a window."""
        return types_of(self.num_hidden_layers) if self.layer_types is None else self.layer_types

    def normal(self, std: float) -> Initial:
        """A truncated normal (Warner et al. 2024, section 2.2.2: as Shoeybi et al. 2019)."""
        cut = self.initializer_cutoff_factor
        return Initial(std, cut=3.0 if cut is None else cut)

    @property
    def narrow(self) -> float:
        """The deviation of what writes into the stream."""
        return self.initializer_range / (2 * self.num_hidden_layers) ** 0.5

    @property
    def initial(self) -> Initial:
        """truncated normal(0.02); what writes into the stream, narrower by sqrt(2 L)."""
        return Initial(self.initializer_range, self.narrow, self.normal(0.0).cut)

    def spec(self, mask=None):
        """Pre-norm blocks; the first reads the normalised embeddings without another norm."""
        blocks = tuple(self.block(n, kind, mask) for n, kind in enumerate(self.types))
        return StackSpec(self.hidden_size, blocks, self.layer_norm, initial=self.initial)

    @property
    def stated_positions(self):
        return self.max_position_embeddings

    @property
    def layer_norm(self) -> LayerNorm:
        """Every norm of the model."""
        return LayerNorm(self.norm_eps, self.norm_bias)

    def block(self, number: int, kind: str, mask) -> Block:
        """What a layer does."""
        reach = self.local_attention // 2  # to either side, the key at that distance included
        mask = with_own(mask, FULL if kind == "full_attention" else Near(reach, reach))
        own = replace(
            attention(self, "hidden_size", "num_attention_heads", mask),
            rotary=rotary(self.rope_parameters[kind], self.max_position_embeddings),
            bias=BIASES if self.attention_bias else (),
            dropout=self.attention_dropout,
        )
        ffn = FeedForwardSpec(
            self.intermediate_size,
            self.hidden_activation,
            gated=True,
            bias=self.mlp_bias,
            dropout=self.mlp_dropout,
        )
        attends, computes = block(own, ffn, self.layer_norm)
        own_norm, rate = self.layer_norm if number else None, self.attention_dropout
        return (replace(attends, norm=own_norm, dropout=rate), computes)

    def embed(self):
        """Words, normalised."""
        return EmbedSpec(
            vocab=self.vocab_size,
            width=self.hidden_size,
            padding_idx=self.pad_token_id,
            norm=self.layer_norm,
            dropout=self.embedding_dropout,
            initial=self.initial,
        )

    def head(self, head: str) -> heads.Head:
        """The head of this name; all begin with the same transform."""
        D, narrow = self.hidden_size, self.normal(self.narrow)
        act, rate, bias = self.classifier_activation, self.classifier_dropout, self.classifier_bias
        inner = heads.Square(D, act, narrow, self.layer_norm, bias=bias)
        if head == "masked_lm":
            return heads.LanguageModel(
                self.vocab_size,
                D,
                narrow,
                tied=self.tie_word_embeddings,
                shift=False,
                bias=self.decoder_bias,
                transform=inner,
            )
        first: Name = "first valid" if head == "multiple_choice" else "first"
        pooling: Name = "mean" if self.classifier_pooling == "mean" else first
        return task_head(
            self,
            head,
            D,
            self.normal(D**-0.5),
            rate=rate,
            pooling=pooling,
            inner=inner,
            pooled_rate=0.0,
        )

    def head_rows(self, head, tied):
        # rows of biases and norms' shifts that this model does not have lead nowhere
        if head == "none":
            return ""
        return TRANSFORM + WORDS if head == "masked_lm" else INNER + CLASSIFY


def types_of(depth: int, every: int = 3) -> tuple[str, ...]:
    """The first layer of each `every` attends to the whole row (Warner et al. 2024, 2.1.2)."""
    return tuple("sliding_attention" if n % every else "full_attention" for n in range(depth))


INNER = layer("head.dense", "head.inner") + norm("head.norm", "head.inner.norm")
TRANSFORM = INNER.replace("inner", "transform")
CLASSIFY = layer("classifier", "head.classify")
WORDS = "\ndecoder.weight | head.table\ndecoder.bias | head.bias"
