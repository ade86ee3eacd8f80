"""The processors of a call, of its options, in the order of transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from transformers_jax.arrays import Array, Int
from transformers_jax.generation.options import Options
from transformers_jax.generation.processors import (
    cutoffs,
    entropy,
    lengths,
    ngrams,
    penalties,
    values,
    words,
)
from transformers_jax.generation.processors import tokens as of_tokens
from transformers_jax.generation.processors.diversity import HammingDiversity
from transformers_jax.generation.processors.grammar import GrammarLogitsProcessor
from transformers_jax.generation.processors.own import EXPECTED, Function, listed, merged
from transformers_jax.generation.processors.record import Processor
from transformers_jax.generation.processors.synthid import SynthIDTextWatermarkLogitsProcessor
from transformers_jax.generation.processors.times import Times, WhisperTimeStampLogitsProcessor
from transformers_jax.generation.processors.watermark import WatermarkLogitsProcessor
from transformers_jax.generation.text import Ids
from transformers_jax.generation.watermarks import Marking, SynthIDTextWatermarkingConfig


class Setting(NamedTuple):
    """What processors know of a call beyond its options.

    Attributes:
        columns: the width of the prompt.
        new: most new tokens.
        source: the ids of the source, or of a decoder's prompt.
        vocabulary: how many tokens are scored.
        own: the caller's.
        allowed: the caller's function that names what may come next.
        run: the number of a `Run` of a grammar.
    """

    columns: Int[Array, ""]
    new: Int[Array, ""]
    source: Ids | None = None
    vocabulary: int | None = None
    own: Any = None
    allowed: Callable[..., Any] | None = None
    run: int | None = None


def build(options: Options, setting: Setting) -> tuple[Processor, ...]:
    """Those that constrain the text, then those of the caller and the grammar, which has the last
    word; then those that shape the draw, and what makes log-probabilities of the rest."""
    made = _constraints(options, setting)
    own = listed("logits_processor", setting.own, Processor, Function, EXPECTED)
    bound: list[Processor] = []
    if setting.run is not None:
        bound.append(GrammarLogitsProcessor(jnp.int32(setting.run), _rows(options)))
    last: list[Processor] = []
    if options.watermarking_config is not None:
        last.append(_watermark(options.watermarking_config, setting))
    if options.renormalize_logits:
        last.append(values.LogitNormalization())
    return *merged(made, own), *bound, *_cutoffs(options), *last


def _rows(options: Options) -> int:
    """How many rows a prompt has, or each of its groups of beams."""
    if options.num_beams > 1:
        return options.num_beams // options.num_beam_groups
    return options.best_of or options.num_return_sequences


def _constraints(options: Options, setting: Setting) -> list[Processor]:
    eos, columns = options.eos_token_id, setting.columns
    made: list[Processor] = []
    add = made.append
    if options.sequence_bias:
        add(words.SequenceBiasLogitsProcessor(options.sequence_bias))
    if options.num_beam_groups > 1:
        add(HammingDiversity(options.diversity_penalty))
    if options.encoder_repetition_penalty != 1:
        assert setting.source is not None
        penalty = options.encoder_repetition_penalty
        add(penalties.EncoderRepetitionPenaltyLogitsProcessor(penalty, *setting.source))
    if options.repetition_penalty != 1:
        add(penalties.RepetitionPenaltyLogitsProcessor(options.repetition_penalty))
    if options.no_repeat_ngram_size:
        add(ngrams.NoRepeatNGramLogitsProcessor(options.no_repeat_ngram_size))
    if options.encoder_no_repeat_ngram_size:
        assert setting.source is not None
        size = options.encoder_no_repeat_ngram_size
        add(ngrams.EncoderNoRepeatNGramLogitsProcessor(size, *setting.source))
    if options.bad_words_ids:
        add(words.NoBadWordsLogitsProcessor(options.bad_words_ids, eos))
    if options.min_new_tokens is not None:  # it replaces min_length, 0 as well
        if options.min_new_tokens and eos:
            least = options.min_new_tokens
            add(lengths.MinNewTokensLengthLogitsProcessor(columns, least, eos))
    elif options.min_length and eos:
        add(lengths.MinLengthLogitsProcessor(options.min_length, eos))
    if setting.allowed is not None:
        add(words.PrefixConstrainedLogitsProcessor(setting.allowed, _rows(options)))
    if options.forced_bos_token_id is not None:
        add(of_tokens.ForcedBOSTokenLogitsProcessor(options.forced_bos_token_id))
    if options.forced_eos_token_id:
        width = columns + setting.new
        add(of_tokens.ForcedEOSTokenLogitsProcessor(width, options.forced_eos_token_id))
    if options.remove_invalid_values:
        add(values.InfNanRemoveLogitsProcessor())
    if (pair := options.exponential_decay_length_penalty) is not None:
        add(lengths.ExponentialDecayLengthPenalty(pair, eos, columns))
    if options.suppress_tokens:
        add(of_tokens.SuppressTokensLogitsProcessor(options.suppress_tokens))
    if options.begin_suppress_tokens:
        after_bos = (columns == 1) & (options.forced_bos_token_id is not None)
        begin = columns + jnp.where(after_bos, 1, 0)
        tokens = options.begin_suppress_tokens
        add(of_tokens.SuppressTokensAtBeginLogitsProcessor(tokens, begin))
    if options.return_timestamps:
        assert options.no_timestamps_token_id is not None
        latest = options.max_initial_timestamp_index
        times = Times(options.no_timestamps_token_id, eos[0], latest)
        add(WhisperTimeStampLogitsProcessor(times, columns))
    return made


def _watermark(config: Marking, setting: Setting) -> Processor:
    if isinstance(config, SynthIDTextWatermarkingConfig):
        return SynthIDTextWatermarkLogitsProcessor(**vars(config), prompt_length=setting.columns)
    assert setting.vocabulary is not None
    return WatermarkLogitsProcessor(setting.vocabulary, **vars(config))


def _cutoffs(options: Options) -> list[Processor]:
    if not options.do_sample:
        return []
    # beams must keep one candidate more than can end the text, or none could go on
    least = len(options.eos_token_id or (0,)) + 1 if options.num_beams > 1 else 1
    kept: dict[str, Any] = {"min_tokens_to_keep": least}
    made: list[Processor] = []
    add = made.append
    if options.temperature != 1:
        add(cutoffs.TemperatureLogitsWarper(options.temperature))
    if options.top_h is not None:
        add(entropy.TopHLogitsWarper(options.top_h))
    if options.top_k:
        add(cutoffs.TopKLogitsWarper(options.top_k, **kept))
    if options.top_p < 1:
        add(cutoffs.TopPLogitsWarper(options.top_p, **kept))
    if options.min_p:
        add(cutoffs.MinPLogitsWarper(options.min_p, **kept))
    if options.typical_p < 1:
        add(entropy.TypicalLogitsWarper(options.typical_p, **kept))
    if options.epsilon_cutoff:
        add(cutoffs.EpsilonLogitsWarper(options.epsilon_cutoff, **kept))
    if options.eta_cutoff:
        add(entropy.EtaLogitsWarper(options.eta_cutoff, **kept))
    return made
