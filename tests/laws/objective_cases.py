"""Every head and every objective, with rows of different lengths and labels of different number.

Heads come from the families, objectives from `LOSSES`: one that is new has no row here and fails
the laws that ask for it.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

import transformers_jax as tj
from transformers_jax.models import DIFFUSERS, FAMILIES
from transformers_jax.models.electra_pretraining import make_replaced_token_detection
from transformers_jax.objectives.diffusion import blockwise
from transformers_jax.objectives.losses import LOSSES, objective

WORDS, KEY = 31, jax.random.key(0)
WITHOUT_LOSS = {"none", "encoder", "projection", "image_text_retrieval"}
WITHOUT_LOSS |= {"backbone", "image_classification_with_teacher"}
WITHOUT_LOSS |= {"optical_flow", "multimodal_autoencoding"}  # nor have they one in the reference
WITHOUT_LOSS |= {"trajectory"}  # its loss is that of a task: see tests/tasks/test_offline_rl.py
WITHOUT_LOSS |= {"contrastive"}  # see image_text
WITHOUT_LOSS |= {"visual_question_answering"}  # its labels are inputs too: see test_image_text.py
LENGTHS = (3, 7, 5, 4, 7, 6, 2, 5, 7, 3, 6, 4, 2, 7, 5, 6)  # of the rows of a batch

quiet = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
sizes = dict(vocab_size=WORDS, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
sizes |= dict(intermediate_size=12, max_position_embeddings=16, **quiet)
t5 = dict(vocab_size=WORDS, d_model=8, d_kv=4, d_ff=12, num_layers=1, num_heads=2, dropout_rate=0.0)
CONFIGS: dict[str, Any] = {
    "bert": tj.BertConfig(**sizes),
    "electra": tj.ElectraConfig(**sizes, embedding_size=8),
    "gpt2": tj.GPT2Config(
        vocab_size=WORDS, n_positions=16, n_embd=8, n_layer=1, n_head=2,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    ),
    "t5": tj.T5Config(**t5),
    "switch_transformers": tj.SwitchTransformersConfig(
        **t5, num_sparse_encoder_layers=1, num_sparse_decoder_layers=1, num_experts=2,
        expert_capacity=32, router_jitter_noise=0.0,
    ),
}  # fmt: skip
images = dict(image_size=8, patch_size=4, num_channels=1)
tower = {n: sizes[n] for n in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
tower |= dict(intermediate_size=12)
CONFIGS["vit"] = tj.ViTConfig(**tower, **images, encoder_stride=4)
CONFIGS["beit"] = tj.BeitConfig(
    **tower | dict(num_hidden_layers=3), **images, drop_path_rate=0.0, out_indices=(0, 1, 2, 3),
    pool_scales=(1, 2), auxiliary_channels=6,
)  # fmt: skip
CONFIGS["clip"] = tj.CLIPConfig(
    text_config=tj.CLIPTextConfig(
        **tower, vocab_size=WORDS, max_position_embeddings=16, eos_token_id=2, projection_dim=6
    ),
    vision_config=tj.CLIPVisionConfig(**tower, **images, projection_dim=6),
    projection_dim=6,
)
CONFIGS["wav2vec2"] = tj.Wav2Vec2Config(
    **tower, vocab_size=WORDS, conv_dim=(6,),
    conv_kernel=(4,), conv_stride=(6,), num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    hidden_dropout=0.0, activation_dropout=0.0, attention_dropout=0.0, final_dropout=0.0,
    layerdrop=0.0, apply_spec_augment=False, ctc_loss_reduction="mean", tdnn_dim=(6, 8),
    tdnn_kernel=(3, 1), tdnn_dilation=(1, 1), xvector_output_dim=6, classifier_proj_size=5,
)  # fmt: skip
CONFIGS["audio-spectrogram-transformer"] = tj.ASTConfig(
    **tower, patch_size=4, frequency_stride=3, time_stride=3, max_length=10, num_mel_bins=7
)
CONFIGS["openai-gpt"] = tj.OpenAIGPTConfig(
    vocab_size=WORDS, n_positions=16, n_embd=8, n_layer=1, n_head=2, resid_pdrop=0.0,
    embd_pdrop=0.0, attn_pdrop=0.0, summary_first_dropout=0.0,
)  # fmt: skip
CONFIGS["perceiver"] = tj.PerceiverConfig(
    num_latents=3, d_latents=8, qk_channels=8, v_channels=8, num_self_attends_per_block=1,
    num_self_attention_heads=2, num_cross_attention_heads=2, image_size=8,
    attention_probs_dropout_prob=0.0,
)  # fmt: skip
CONFIGS["dit"] = tj.DiTConfig(
    num_attention_heads=2, attention_head_dim=4, in_channels=1, num_layers=1, sample_size=8,
    patch_size=4, num_embeds_ada_norm=3,
)  # fmt: skip
SAMPLES = 40  # seven frames
FAMILY = {
    "ctc": "wav2vec2",
    "audio_frame_classification": "wav2vec2",
    "xvector": "wav2vec2",
    "audio_classification": "audio-spectrogram-transformer",
    "image_classification": "vit",
    "image_classification_fourier": "perceiver",
    "image_classification_conv": "perceiver",
    "image_autoencoding": "perceiver",
    "denoising": "dit",
    "masked_image_modeling": "vit",
    "semantic_segmentation": "beit",
    "replaced_token": "electra",
    "causal_lm": "gpt2",
    "seq2seq_lm": "t5",
    "double_heads": "openai-gpt",
}


def heads() -> list[str]:
    """Every head of every family that computes a loss."""
    all_heads = set()
    for config in (FAMILIES | DIFFUSERS).values():
        file, name = config.split(":")
        module = importlib.import_module(f"transformers_jax.models.{file}")
        all_heads |= set(getattr(module, name).HEADS.values())
    return sorted(all_heads - WITHOUT_LOSS)


@dataclass(frozen=True)
class Case:
    """A model, an objective, and the kind of its rows."""

    objective: Any
    family: str
    head: str
    rows: str
    options: tuple[tuple[str, Any], ...] = ()

    @functools.cached_property
    def model(self):
        options = dict(self.options)
        if self.head == "replaced_token_detection":
            return make_replaced_token_detection(CONFIGS["electra"], key=KEY, fraction=1.0)
        return tj.from_config(CONFIGS[self.family], head=self.head, key=KEY, **options)


def _supervised(head: str, rows: str | None = None, **options: Any) -> Case:
    family = FAMILY.get(head, "bert")
    return Case(tj.supervised, family, head, rows or head, tuple(options.items()))


ROWS = {  # of a head, where no other has them
    "image_classification_fourier": "colour_classification",
    "image_classification_conv": "colour_classification",
}
CASES = {f"supervised-{head}": _supervised(head, ROWS.get(head)) for head in heads()}
CASES |= {
    "supervised-regression": _supervised("sequence_classification", "number", num_labels=1),
    "supervised-several-classes": _supervised("sequence_classification", "several", num_labels=3),
    "causal_lm": Case(tj.causal_lm, "gpt2", "causal_lm", "text"),
    "masked_lm": Case(objective("masked_lm"), "bert", "masked_lm", "masked_lm"),
    "masked_diffusion": Case(
        objective("masked_diffusion"), "bert", "masked_lm", "masked_diffusion"
    ),
    "masked_diffusion-blocks": Case(
        objective("masked_diffusion"), "bert", "masked_lm", "noised", (("mask", blockwise(3)),)
    ),
    "pretraining": Case(objective("pretraining"), "bert", "pretraining", "pretraining"),
    "seq2seq_lm": Case(objective("seq2seq_lm"), "t5", "seq2seq_lm", "seq2seq_lm"),
    "seq2seq_lm-routed": Case(
        objective("seq2seq_lm"), "switch_transformers", "seq2seq_lm", "seq2seq_lm"
    ),
    "replaced_token": Case(
        objective("replaced_token"), "electra", "replaced_token_detection", "masked_lm"
    ),
    "contrastive": Case(objective("contrastive"), "bert", "embedding", "pairs"),
    "image_text": Case(objective("image_text"), "clip", "contrastive", "image_text"),
    "contrastive-matryoshka": Case(
        tj.matryoshka(tj.contrastive, (8, 3), (1.0, 0.5)), "bert", "embedding", "pairs"
    ),
}
assert {name.split("-")[0] for name in CASES} >= LOSSES.keys(), "an objective without a case"


# ---------------------------------------------------------------- rows

FIXED = ("audio_frame_classification", "masked_image_modeling", "semantic_segmentation")
"""The kinds whose rows are frames, patches or pixels, of which each has as many."""
PADDED = {"input_ids": 0, "attention_mask": 0, "position": 0, "question_lengths": 0}
PADDED |= {"noised_ids": 0, "weights": 0}


def row(kind: str, length: int, number: int) -> dict[str, Any]:
    """The arrays of one row, of `length` tokens; some have many labels, some few or none."""
    rng = np.random.default_rng(100 * number + length)
    draw = lambda top, *shape: rng.integers(1, top, shape or (length,)).astype(np.int32)
    chance = (0.9, 0.3, 0.6)[number % 3]
    some = lambda values: np.where(rng.random(len(values)) < chance, values, -100).astype(np.int32)
    inputs: dict[str, Any] = {"input_ids": draw(WORDS), "attention_mask": np.ones(length, np.int32)}
    once = np.int32(-100 if number % 4 == 1 else number % 2)
    if kind == "pairs":
        other = {"input_ids": draw(WORDS, length), "attention_mask": np.ones(length, np.int32)}
        return {"anchor": inputs, "positive": other}
    pixels = rng.normal(size=(1, 8, 8)).astype(np.float32)
    if kind == "image_classification":
        return {"pixel_values": pixels, "labels": once}
    colours = np.concatenate([pixels, -pixels, pixels**2])
    if kind == "colour_classification":
        return {"pixel_values": colours, "labels": once}
    if kind == "denoising":
        noisy = {"hidden_states": pixels, "timestep": np.int32(7 * number)}
        return {**noisy, "class_labels": np.int32(number % 4), "labels": pixels**2}
    if kind == "image_autoencoding":
        return {"pixel_values": colours}
    if kind == "masked_image_modeling":
        return {"pixel_values": pixels, "bool_masked_pos": np.arange(4) <= number % 3}
    if kind == "semantic_segmentation":
        classes = rng.integers(0, 2, (8, 8)).astype(np.int32)
        return {
            "pixel_values": pixels,
            "labels": np.where(rng.random((8, 8)) < chance, classes, np.int32(255)),
        }
    if kind == "image_text":
        return {**inputs, "pixel_values": pixels}
    samples = rng.normal(size=SAMPLES).astype(np.float32)
    audio: dict[str, Any] = {
        "ctc": some(draw(9, 1 + number % 3)),
        "audio_frame_classification": some(draw(9, 7) % 2),
        "xvector": once,
    }
    if kind in audio:
        return {"input_values": samples, "labels": audio[kind]}
    if kind == "audio_classification":
        return {"input_values": rng.normal(size=(10, 7)).astype(np.float32), "labels": once}
    if kind in ("multiple_choice", "double_heads"):
        inputs = {name: np.stack([x, x[::-1]]) for name, x in inputs.items()}
    weights = np.full(length, 1.3 + number % 3, np.float32)
    more: dict[str, Any] = {
        "text": {},
        "causal_lm": {"labels": np.r_[np.int32(-100), some(inputs["input_ids"][..., 1:].ravel())]},
        "masked_lm": {"labels": some(draw(WORDS))},
        "masked_diffusion": {"labels": some(draw(WORDS)), "weights": weights},
        "noised": {"noised_ids": draw(WORDS), "labels": some(draw(WORDS)), "weights": weights},
        "token_classification": {"labels": some(draw(2) % 2)},
        "replaced_token": {"labels": some(draw(9) % 2)},
        "sequence_classification": {"labels": once},
        "multiple_choice": {"labels": once},
        "double_heads": {
            "labels": np.stack([some(row) for row in np.atleast_2d(inputs["input_ids"])])
        },
        "next_sentence": {"labels": once},
        "number": {"labels": np.float32(rng.normal())},
        "several": {"labels": rng.integers(0, 2, 3).astype(np.float32)},
        "pretraining": {"labels": some(draw(WORDS)), "next_sentence_label": once},
        "seq2seq_lm": {"labels": some(draw(WORDS, 1 + number % 4))},
        "question_answering": {
            "start_positions": np.int32(number % length),
            "end_positions": np.int32(99 if number % 3 else length - 1),  # 99: beyond the row
        },
    }
    return {**inputs, **more[kind]}


def padded(rows: list[dict[str, Any]], width: int, side: str = "right") -> dict[str, Any]:
    """A batch: what has a value per token is filled up to `width`, labels with -100."""

    def filled(name: str, values: list[Any]) -> np.ndarray:
        if isinstance(values[0], dict):
            return {n: filled(n, [v[n] for v in values]) for n in values[0]}  # type: ignore
        numbers = name != "weights" and values[0].dtype in (np.float32, bool)
        if np.ndim(values[0]) == 0 or numbers:
            return np.stack(values)
        wide = []
        for value in values:
            missing = width - value.shape[-1]
            edge = (missing, 0) if side == "left" else (0, missing)
            edges = [(0, 0)] * (value.ndim - 1) + [edge]
            wide.append(np.pad(value, edges, constant_values=PADDED.get(name, -100)))
        return np.stack(wide)

    return {name: filled(name, [row[name] for row in rows]) for name in rows[0]}


def batch(case: Case) -> dict[str, Any]:
    """Rows of different lengths, padded on the right."""
    rows = [row(case.rows, length, number) for number, length in enumerate(LENGTHS)]
    if case.rows in FIXED:
        return {name: np.stack([one[name] for one in rows]) for name in rows[0]}
    return padded(rows, max(LENGTHS))


class Quiet:
    """The objective without noise."""

    def __init__(self, of: Any):
        self.wrapped = of
        if hasattr(of, "vectors"):
            self.vectors = lambda model, batch, key: of.vectors(model, batch, None)
            self.of = of.of

    def __call__(self, model, batch, key):
        return self.wrapped(model, batch, None)


def gradient(name: str, accumulate: int, mesh: Any = None, objective: Any = None):
    """({figure: value}, gradient as one vector) of a case."""
    from transformers_jax import processes, shard
    from transformers_jax.nn.param import merge, split
    from transformers_jax.objectives import means
    from transformers_jax.training.gradients import BatchLoss

    case = CASES[name]
    definition, values = split(case.model)

    @jax.jit
    def run(values, batch):
        with shard.use(mesh):
            loss = BatchLoss(
                model_of=functools.partial(merge, definition),
                objective=Quiet(case.objective) if objective is None else objective,
                batch=batch,
                noise=KEY,
                accumulate=accumulate,
            )
            grads, sums, _ = loss.gradients(values)
            return means(sums), grads

    if mesh is not None:
        values = jax.device_put(values, shard.replicated(mesh))
    losses, grads = run(values, processes.to_devices(batch(case), mesh))
    flat = np.concatenate([np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(grads)])
    return {name: float(x) for name, x in losses.items()}, flat
