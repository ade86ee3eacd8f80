"""What a Perceiver reads and what it is asked, by its head: the embedders of its input and of its
queries, and the heads."""

from __future__ import annotations

from typing import Any, NamedTuple

from transformers_jax.nn import head as heads
from transformers_jax.nn.embed import Embedder, EmbedSpec, LatentEmbedder, LatentSpec, TokenEmbedder
from transformers_jax.nn.embed.modalities import VideoEmbedder, VideoQueries, VideoSpec
from transformers_jax.nn.embed.queries import PositionQueries, StateQueries
from transformers_jax.nn.embed.vectors import VectorEmbedder
from transformers_jax.nn.fourier import FourierPositions
from transformers_jax.nn.head.queried import Flow, QueriedPixels, QueriedVideo, QueriedWords
from transformers_jax.nn.image.convolve import Convolve
from transformers_jax.nn.image.pixels import FlowEmbedder, LearnedPositions, PixelEmbedder
from transformers_jax.nn.image.residual import Stem
from transformers_jax.sizes import nearest_multiples
from transformers_jax.spec import Draw

FOURIER, CONV = "image_classification_fourier", "image_classification_conv"
FLOW, VIDEO, PIXELS = "optical_flow", "multimodal_autoencoding", "image_autoencoding"
READS = {
    "masked_lm": "text",
    "sequence_classification": "text",
    "image_classification": "learned",
    FOURIER: "fourier",
    CONV: "conv",
    FLOW: "flow",
    VIDEO: "video",
    PIXELS: "pixels",
}
"""What the input of a model is, by its head; without a head it is vectors."""

# what no config says
CHANNELS, LEARNED, STEM, BANDS = 3, 256, 64, 64
WORDS_HEADS, WORDS_CHANNELS = 8, 256
AUDIO_BANDS, VIDEO_BANDS, VIDEO_PATCH = 192, 32, 4


class Queries(NamedTuple):
    """What asks the latents, how wide it is, and the sizes of its attention: heads, the channels of
    queries and of values, whether the result is added to the queries; `placed` is the tower whose
    tokens the queries are."""

    embed: Embedder
    width: int
    heads: int = 1
    channels: tuple[int | None, int | None] = (None, None)
    adds: bool = False
    placed: str | None = None


def learned(config: Any, count: int, width: int) -> LatentEmbedder:
    """So many learned vectors, the same for every row."""
    return LatentEmbedder(LatentSpec(count, width, begins=Draw("normal", config.initializer_range)))


def inputs_of(config: Any, head: str) -> tuple[Embedder, int]:
    """(what makes the tokens of the input, how wide they are)."""
    kind, initial, side = READS.get(head), config.initial, config.image_size
    if kind is None:
        return VectorEmbedder("inputs", config.d_model, mask="attention_mask"), config.d_model
    if kind == "text":
        vocab, count = config.vocab_size, config.max_position_embeddings
        words = EmbedSpec(vocab, config.d_model, positions=count, initial=initial)
        return TokenEmbedder(words), config.d_model
    embed: Any
    if kind == "flow":
        positions = FourierPositions(BANDS, config.train_size)
        embed = FlowEmbedder(config.train_size, STEM, positions, initial)
    elif kind == "video":
        embed = VideoEmbedder(video_of(config))
    elif kind == "learned":
        stem = Convolve(CHANNELS, LEARNED, (1, 1), initial, bias=True)
        table = LearnedPositions((side, side), LEARNED, initial)
        embed = PixelEmbedder(CHANNELS, table, stem, LEARNED)
    elif kind == "conv":
        convolved = Stem(CHANNELS, STEM, initial, "relu", margin="none")
        embed = PixelEmbedder(CHANNELS, FourierPositions(BANDS, (56, 56)), convolved, STEM)
    else:
        resolution = (224, 224) if kind == "fourier" else (side, side)
        embed = PixelEmbedder(CHANNELS, FourierPositions(BANDS, resolution))
    return embed, embed.width


def video_of(config: Any) -> VideoSpec:
    """How a video, its sound and its label are tokens, and what can be asked of them."""
    samples = config.num_frames * config.audio_samples_per_frame
    return VideoSpec(
        audio=FourierPositions(AUDIO_BANDS, (samples,)),
        image=FourierPositions(VIDEO_BANDS, (config.num_frames, *[config.image_size] * 2)),
        samples=config.samples_per_patch,
        patch=VIDEO_PATCH,
        labels=config.num_labels,
        label_width=config.label_channels,
        audio_points=(samples // config.samples_per_patch,),
        image_points=config.output_shape[1:],
        initial=config.initial,
    )


def queries_of(config: Any, head: str, width: int) -> Queries:
    """What asks the latents, beside an input of this width."""
    if head == FLOW:
        return Queries(StateQueries(width), width, placed="inputs")
    if head == VIDEO:
        video = VideoQueries(video_of(config))
        return Queries(video, video.width)
    if head == PIXELS:
        size = (config.image_size, config.image_size)
        points = PositionQueries(FourierPositions(BANDS, size), size)
        return Queries(points, points.width)
    if head == "masked_lm":
        if config.d_model % WORDS_HEADS:
            raise ValueError(
                f"{type(config).__name__}: d_model ({config.d_model}) must be a multiple of "
                f"{WORDS_HEADS}, the heads of the queries for words; the nearest are "
                f"{nearest_multiples(config.d_model, WORDS_HEADS)}"
            )
        words = learned(config, config.max_position_embeddings, config.d_model)
        channels = WORDS_CHANNELS, config.d_model
        return Queries(words, config.d_model, WORDS_HEADS, channels)
    return Queries(learned(config, 1, config.d_latents), config.d_latents, adds=True)


def head_of(config: Any, head: str, width: int) -> heads.Head:
    """The head of this name, behind queries of this width."""
    initial, labels = config.initial, config.num_labels
    if head == "masked_lm":
        return QueriedWords(config.vocab_size, width, initial, tied=True, shift=False, bias=True)
    if head == FLOW:
        return Flow(width, config.train_size, initial)
    if head == VIDEO:
        inner, samples = config.output_num_channels, config.samples_per_patch
        return QueriedVideo(width, inner, samples, labels, initial)
    if head == PIXELS:
        return QueriedPixels(width, CHANNELS, (config.image_size,) * 2, initial)
    return heads.SequenceClassification(
        width, labels, initial, pooling="first", problem=config.problem_type
    )
