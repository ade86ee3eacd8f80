"""Marian (Junczys-Dowmunt et al. 2018; OPUS-MT, Tiedemann 2020). Hugging Face model_type "marian".

Post-norm blocks as in the 2017 Transformer, with positions whose sines are before their cosines.
Source and target may have vocabularies of their own. The decoder begins with the padding token,
which must not be generated: generation_config.json bans it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.bart import LEGACY, BartConfig
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.sinusoidal import SinusoidalConfig


@dataclass(frozen=True, kw_only=True)
class MarianConfig(SinusoidalConfig):
    """The fields of a Marian config.json; defaults are those of the class in Hugging Face, with
    which opus-mt-en-de (74M) has width 512, 6 layers of 8 heads, hidden width 2048 and swish."""

    model_type = "marian"
    INPUT_IDS_SHIFTED = False
    LABELS = 2
    FIXED = {**LEGACY, "normalize_embedding": False, "static_position_embeddings": True}
    UNUSED = BartConfig.UNUSED | {"extra_pos_embeddings"}
    HEADS = heads_of("Marian", "none", "causal_lm", MarianMTModel="seq2seq_lm")

    vocab_size: int = 58101
    decoder_vocab_size: int | None = None
    share_encoder_decoder_embeddings: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = 0
    pad_token_id: int | None = 58100
    decoder_start_token_id: int | None = 58100
    forced_eos_token_id: int | tuple[int, ...] | None = 0

    def to_dict(self):
        written = super().to_dict()
        if not self.share_encoder_decoder_embeddings:  # then it means the output only
            written["tie_word_embeddings"] = self.tie_word_embeddings
        return written

    @property
    def target_vocab(self) -> int:
        own = None if self.share_encoder_decoder_embeddings else self.decoder_vocab_size
        return own or self.vocab_size

    @property
    def shares_embeddings(self):
        return self.share_encoder_decoder_embeddings

    def resolved(self, same):
        config = super().resolved(same)
        return config if self.shares_embeddings else config.replace(own_words=self.own_words)

    def table(self, head):
        table = super().table(head)
        if head != "seq2seq_lm":
            return table
        # only files of early releases hold the sinusoids then
        return replace(table, ignore=(*table.ignore, "*.embed_positions.weight"), computed=())
