"""config.json of the models that are timed at their own sizes, without dropout."""

from __future__ import annotations

from typing import Any

QUIET = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
BASE = dict(
    hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, **QUIET
)
SIZES: dict[str, dict[str, Any]] = {
    "bert-base": dict(model_type="bert", vocab_size=30522, **BASE),
    # microsoft/deberta-v3-base
    "deberta-v3-base": dict(
        model_type="deberta-v2",
        vocab_size=128100,
        **BASE,
        relative_attention=True,
        position_buckets=256,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        max_relative_positions=-1,
        type_vocab_size=0,
        layer_norm_eps=1e-7,
        pooler_dropout=0.0,
    ),
    "t5-small": dict(model_type="t5", vocab_size=32128, dropout_rate=0.0),
}
