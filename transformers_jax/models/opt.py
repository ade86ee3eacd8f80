"""OPT (Zhang et al. 2022), a decoder like GPT-3. Hugging Face model_type "opt"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from transformers_jax.graph import CAUSAL, with_own
from transformers_jax.hub.table import Tying, rows
from transformers_jax.models.shared.blocks import BIASES, attention, block
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.decoder_heads import decoder_head, decoder_rows
from transformers_jax.models.shared.task_heads import first_of, task_head
from transformers_jax.models.shared.weight_rows import PROJECTIONS, S, block_rows, norm
from transformers_jax.models.wiring import Network, OneTower, Tower
from transformers_jax.nn import head as heads
from transformers_jax.nn.embed import EmbedSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.pooling import Last
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import Initial, LayerNorm, StackSpec

FIRST = 2  # rows of the table of positions before that of the first token
L = "decoder.layers.{i}"


@dataclass(frozen=True, kw_only=True)
class OPTConfig(OneTower):
    """The fields of an OPT config.json; defaults are OPT-125M. Positions count the tokens that are
    no padding. Only OPT-350M has embeddings of another width than the stream
    (`word_embed_proj_dim`), and norms behind the residuals."""

    model_type = "opt"
    PREFIX = "model."
    TIES = (Tying("model.decoder.embed_tokens.weight", "lm_head.weight"),)
    HEADS = heads_of("OPT", "none", "causal_lm", "sequence_classification", "question_answering")

    vocab_size: int = 50272
    hidden_size: int = 768
    num_hidden_layers: int = 12
    ffn_dim: int = 3072
    max_position_embeddings: int = 2048
    do_layer_norm_before: bool = True
    _remove_final_layer_norm: bool = False
    word_embed_proj_dim: int | None = None
    dropout: float = 0.1
    attention_dropout: float = 0.0
    num_attention_heads: int = 12
    activation_function: str = "relu"
    layerdrop: float = 0.0
    init_std: float = 0.02
    enable_bias: bool = True
    layer_norm_elementwise_affine: bool = True
    pad_token_id: int | None = 1
    bos_token_id: int | None = 2
    eos_token_id: int | tuple[int, ...] | None = 2

    @property
    def initial(self) -> Initial:
        """normal(0.02) everywhere (the released code)."""
        return Initial(self.init_std)

    @property
    def words(self) -> int:
        """The width of the embeddings."""
        return first_of(self.word_embed_proj_dim, self.hidden_size)

    @property
    def narrow(self) -> bool:
        """Whether the embeddings have another width than the stream."""
        return self.words != self.hidden_size

    def embed(self):
        """Words, brought to the width of the stream, + positions."""
        return EmbedSpec(
            vocab=self.vocab_size,
            width=self.words,
            padding_idx=self.pad_token_id,
            positions=self.max_position_embeddings + FIRST,
            rows_before=FIRST,
            unpadded=True,
            project=self.hidden_size if self.narrow else None,
            project_bias=False,
            projects="words",
            initial=self.initial,
        )

    def spec(self, mask=None):
        """Blocks of causal self-attention and an MLP."""
        learned, before = self.layer_norm_elementwise_affine, self.do_layer_norm_before
        norm = LayerNorm(shift=learned, scale=learned)
        own = attention(self, "hidden_size", "num_attention_heads", with_own(mask, CAUSAL))
        bias = BIASES if self.enable_bias else ()
        own = replace(own, bias=bias, dropout=self.attention_dropout)
        ffn = FeedForwardSpec(self.ffn_dim, self.activation_function, bias=self.enable_bias)
        one = block(own, ffn, norm, "pre" if before else "post", self.dropout)
        return StackSpec(
            self.hidden_size,
            (one,) * self.num_hidden_layers,
            norm if before and not self._remove_final_layer_norm else None,
            layerdrop=self.layerdrop,
            initial=self.initial,
        )

    def head(self, head):
        if not self.narrow:
            return decoder_head(self, head, self.hidden_size, self.initial, 0.0)
        initial, words = self.initial, self.words
        narrow: Any = heads.Dense(self.hidden_size, words, "inner", initial, bias=False)
        if head == "causal_lm":
            tied = self.tie_word_embeddings
            return heads.LanguageModel(
                self.vocab_size, words, initial, tied=tied, shift=True, transform=narrow
            )
        last = Last(self.pad_token_id)
        return task_head(self, head, words, initial, pooling=last, inner=narrow, bias=False)

    def build(self, head, execution, mask=None):
        if not self.narrow:
            return super().build(head, execution, mask)
        tower = Tower(self.embedder(head), Stack(self.spec(mask), execution))
        states = NarrowStates(self.hidden_size, self.words, self.initial)
        return NarrowNetwork({"stack": tower}, states if head == "none" else self.head(head))

    def table(self, head):
        if not self.narrow:
            return super().table(head)
        path = {"causal_lm": "head.transform"}.get(head, "head.inner")
        row = f"{self.PREFIX}decoder.project_out.weight | {path}.weight | e d -> d e"
        return super().table(head).with_rows(rows(row))

    def head_rows(self, head, tied):
        return decoder_rows("score").get(head, "")

    def backbone(self):
        names = "self_attn_layer_norm final_layer_norm"
        own = f"""
decoder.embed_tokens.weight    | embed.table
decoder.embed_positions.weight | embed.position
decoder.project_in.weight      | embed.project.weight | e d -> d e
{norm("decoder.final_layer_norm", "stack.norm")}
"""
        return own + block_rows(L, S, "self_attn", PROJECTIONS, "fc1 fc2", names)


class NarrowNetwork(Network):
    """The last of its hidden states is brought to the width of the embeddings."""

    def further_fields(self, outputs, arguments):
        own = outputs["stack"]
        if not own.ran.hidden:
            return {}
        head: Any = self.head
        narrow = head.transform if self.plan.head == "causal_lm" else head.inner
        return {"hidden_states": (*own.ran.hidden[:-1], narrow(own.x))}


class NarrowStates(heads.Head):
    """The states, brought to the width of the embeddings."""

    labels = ()

    def __init__(self, width: int, words: int, initial: Initial):
        self.inner = heads.Dense(width, words, "inner", initial, bias=False)

    def __call__(self, x, inputs):
        return {"last_hidden_state": self.inner(x)}
