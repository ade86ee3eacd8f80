"""BERT (Devlin et al. 2018). Hugging Face model_type "bert"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.graph import CAUSAL, FULL, given
from transformers_jax.hub.table import Row, Table, Tying, rows, slots
from transformers_jax.models.weight_rows import S, attention, dense, layer, norm, of_heads
from transformers_jax.models.wiring import OneTower
from transformers_jax.nn import head as heads
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import EmbedSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.spec import Branch, Initial, LayerNorm, StackSpec


@dataclass(frozen=True, kw_only=True)
class BertConfig(OneTower):
    """The fields of a BERT config.json; defaults are BERT-base (110M).

    `is_decoder` makes attention causal, `add_cross_attention` adds a branch that hears an encoder.
    Neither is set by the head "causal_lm": as in Hugging Face the config alone says it.
    """

    model_type = "bert"
    FIXED = {"position_embedding_type": "absolute", "directionality": "bidi"}
    UNUSED = frozenset(
        """pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head
        pooler_type
        """.split()
    )
    TIES: ClassVar[tuple[Tying, ...]] = (
        Tying("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
        Tying("cls.predictions.bias", "cls.predictions.decoder.bias"),
    )
    POOLER: ClassVar[str] = "pooler.dense"
    POOLED: ClassVar[tuple[str, ...]] = (
        *("none", "pretraining", "next_sentence", "sequence_classification", "multiple_choice"),
    )
    HEADS = {
        "BertModel": "none",
        "BertForMaskedLM": "masked_lm",
        "BertLMHeadModel": "causal_lm",
        "BertForPreTraining": "pretraining",
        "BertForNextSentencePrediction": "next_sentence",
        "BertForSequenceClassification": "sequence_classification",
        "BertForTokenClassification": "token_classification",
        "BertForMultipleChoice": "multiple_choice",
        "BertForQuestionAnswering": "question_answering",
    }

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: float | None = None
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    is_decoder: bool = False
    add_cross_attention: bool = False
    pad_token_id: int | None = 0

    def __post_init__(self):
        super().__post_init__()
        name = type(self).__name__
        if self.is_decoder and "causal_lm" not in self.HEADS.values():
            raise ValueError(
                f"{name}: is_decoder=True is not implemented for {self.model_type}, only False"
            )
        if self.add_cross_attention and not self.is_decoder:
            raise ValueError(f"{name}: add_cross_attention=True needs is_decoder=True")

    @property
    def initial(self) -> Initial:
        """normal(0.02) everywhere (Devlin et al. 2018, released code)."""
        return Initial(self.initializer_range)

    def attend(self, mask) -> AttentionSpec:
        """Self-attention, bidirectional unless this is a decoder."""
        return AttentionSpec(
            heads=self.num_attention_heads,
            kv=self.head_width("hidden_size", "num_attention_heads"),
            mask=given(mask, CAUSAL if self.is_decoder else FULL),
            bias=("query", "key", "value", "out"),
            dropout=self.attention_probs_dropout_prob,
        )

    def spec(self, mask=None, cross=None) -> StackSpec:
        """Post-norm blocks of self-attention, cross-attention if asked for, and an MLP."""
        norm, rate = LayerNorm(self.layer_norm_eps), self.hidden_dropout_prob
        ffn = FeedForwardSpec(self.intermediate_size, self.hidden_act)
        block = [
            Branch("self", self.attend(mask), norm, "post", rate),
            Branch("ffn", ffn, norm, "post", rate),
        ]
        if hears := self.add_cross_attention:
            heard = replace(self.attend(None), mask=given(cross, FULL), rotary=None)
            block.insert(1, Branch("cross", heard, norm, "post", rate, "encoder"))
        blocks = (tuple(block),) * self.num_hidden_layers
        return StackSpec(self.hidden_size, blocks, source_optional=hears, initial=self.initial)

    def embed(self) -> EmbedSpec:
        """Words + positions + types, normalised."""
        return EmbedSpec(
            vocab=self.vocab_size,
            width=self.hidden_size,
            padding_idx=self.pad_token_id,
            positions=self.max_position_embeddings,
            types=self.type_vocab_size,
            norm=LayerNorm(self.layer_norm_eps),
            dropout=self.hidden_dropout_prob,
            initial=self.initial,
        )

    def pooler(self, head):
        return heads.Pooler(self.hidden_size, self.initial) if head in self.POOLED else None

    @property
    def classifier_rate(self) -> float:
        """Dropout in front of a classifier."""
        rate = self.classifier_dropout
        return self.hidden_dropout_prob if rate is None else rate

    def words(self, act: str, shift: bool = False) -> heads.LanguageModel:
        """Logits of masked or next words: a transform of the stream, the table of words, a bias."""
        D, E, tied = self.hidden_size, self.embed().width, self.tie_word_embeddings
        norm = LayerNorm(self.layer_norm_eps)
        return heads.LanguageModel(
            self.vocab_size,
            E,
            self.initial,
            tied=tied,
            shift=shift,
            bias=True,
            unused_bias=not tied,
            transform=heads.Square(D, act, self.initial, norm, out=E),
        )

    def head(self, head: str) -> heads.Head | None:
        """The head of this name."""
        D, N, initial = self.hidden_size, self.num_labels, self.initial
        rate = self.classifier_rate
        makers = {
            "none": lambda: None,
            "masked_lm": lambda: self.words(self.hidden_act),
            "causal_lm": lambda: self.words(self.hidden_act, shift=True),
            "pretraining": lambda: heads.Pretraining(
                self.words(self.hidden_act), heads.NextSentence(D, initial)
            ),
            "next_sentence": lambda: heads.NextSentence(D, initial),
            "sequence_classification": lambda: heads.SequenceClassification(
                D, N, initial, problem=self.problem_type, rate=rate
            ),
            "token_classification": lambda: heads.TokenClassification(D, N, initial, rate),
            "multiple_choice": lambda: heads.MultipleChoice(D, initial, rate),
            "question_answering": lambda: heads.QuestionAnswering(D, initial),
        }
        return makers[head]()

    def table(self, head) -> Table:
        tied, prefix = self.tie_word_embeddings, self.TIES[0].name.split("embeddings")[0]
        # a model without a head is saved without the prefix, its pooler included
        pooler = layer(f"{'' if head == 'none' else prefix}{self.POOLER}", "pooler")
        texts = {name: self.head_rows(name, tied and name == head) for name in self.HEADS.values()}
        # v4 shared the bias of untied words as well
        ties = self.TIES if tied else tuple(replace(tie, apart=True) for tie in self.TIES[1:])
        return Table(
            (*self.backbone(prefix), *rows(pooler, group="pooler"), *of_heads(texts, head)),
            prefix=prefix,
            aliases=((r"\.gamma$", ".weight"), (r"\.beta$", ".bias")),
            ignore=("*.position_ids",),
            ties=ties,
        )

    def backbone(self, prefix: str) -> tuple[Row, ...]:
        """The rows of embeddings and stack, whose names begin with `prefix`."""
        return slots(BACKBONE.replace("bert.", prefix))

    def head_rows(self, head: str, tied: bool) -> str:
        """The rows of one head."""
        if head == "next_sentence":
            return SENTENCE.format(sentence="head")
        if head in ("masked_lm", "causal_lm", "pretraining"):
            words = "head.words" if head == "pretraining" else "head"
            transform = "cls.predictions.transform"
            text = layer(f"{transform}.dense", f"{words}.transform")
            text += norm(f"{transform}.LayerNorm", f"{words}.transform.norm")
            text += lm_rows("cls.predictions", words, tied)
            sentence = SENTENCE.format(sentence="head.sentence")
            return text + (sentence if head == "pretraining" else "")
        name = "qa_outputs" if head == "question_answering" else "classifier"
        return "" if head == "none" else layer(name, "head.classify")


def lm_rows(theirs: str, ours: str, tied: bool) -> str:
    """Bias and table of a masked language model. Untied, a file holds two biases and only the
    decoder's own counts."""
    if tied:
        return f"\n{theirs}.bias | {ours}.bias"
    return f"""
{theirs}.bias           | {ours}.unused_bias
{theirs}.decoder.weight | {ours}.table
{theirs}.decoder.bias   | {ours}.bias
"""


L = "bert.encoder.layer.{i}"
BACKBONE = f"""
bert.embeddings.word_embeddings.weight       | embed.table
bert.embeddings.position_embeddings.weight   | embed.position
bert.embeddings.token_type_embeddings.weight | embed.type
{norm("bert.embeddings.LayerNorm", "embed.norm")}
{attention(f"{L}.attention", f"{S}.self", "self.query self.key self.value output.dense")}
{norm(f"{L}.attention.output.LayerNorm", f"{S}.self_norm")}
{attention(f"{L}.crossattention", f"{S}.cross", "self.query self.key self.value output.dense")}
{norm(f"{L}.crossattention.output.LayerNorm", f"{S}.cross_norm")}
{dense(f"{L}.intermediate.dense", f"{S}.ffn.up")}
{dense(f"{L}.output.dense", f"{S}.ffn.down", "d f -> f d")}
{norm(f"{L}.output.LayerNorm", f"{S}.ffn_norm")}
"""
SENTENCE = layer("cls.seq_relationship", "{sentence}.classify")
