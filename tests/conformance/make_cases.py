"""Makes cases of families for which the public set has none: what PyTorch computes.

python -m tests.conformance.make_cases [CASE ...]       (needs the extra `parity`)

The cases, by what models read, are in chosen/; their random inputs are made by case_inputs.py.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.models.perceiver import modeling_perceiver as perceiver

from tests.conformance.case_inputs import as_named, inputs_of, of_proteins, proteins_of, text_of
from tests.conformance.chosen import decoders, images_and_texts, speech, structures, text, vision

CASES = Path(__file__).parent / "cases"
CHOSEN = {
    name: case
    for kind in (text, decoders, vision, images_and_texts, speech, structures)
    for name, case in kind.CHOSEN.items()
}
SIZES = {
    "dinov2-registers-resized": (16, 28),
    "beit-segment-beside": (20, 28),
    "swin-backbone": (12, 16),
    "resnet-backbone": (40, 24),
}  # of images, where it is not that of the config  # of images, where it is not that of the config
ATOL, RTOL = 5e-5, 1e-5  # float32, other orders of summation


class PerceiverForImageAutoencoding(perceiver.PerceiverPreTrainedModel):
    """A PerceiverModel of the reference's parts, whose queries are the places of pixels."""

    def __init__(self, config):
        super().__init__(config)
        size = (config.image_size, config.image_size)
        fourier = dict(num_bands=64, max_resolution=size, concat_pos=True, sine_only=False)
        pixels = perceiver.PerceiverImagePreprocessor(
            config, prep_type="pixels", spatial_downsample=1,
            fourier_position_encoding_kwargs=fourier,
        )  # fmt: skip
        decoder = perceiver.PerceiverBasicDecoder(
            config, output_num_channels=3, position_encoding_type="fourier",
            num_channels=pixels.position_embeddings.output_size(), use_query_residual=False,
            fourier_position_encoding_kwargs=fourier,
        )  # fmt: skip
        self.perceiver = perceiver.PerceiverModel(config, decoder, pixels)
        self.post_init()

    def forward(self, pixel_values, output_hidden_states=False):
        parts, (rows, _, *size) = self.perceiver, pixel_values.shape
        inputs, _, _ = parts.input_preprocessor(pixel_values)
        latents = parts.encoder(
            parts.embeddings(batch_size=rows), inputs=inputs,
            output_hidden_states=output_hidden_states,
        )  # fmt: skip
        places = parts.decoder.output_position_encodings(size, rows, inputs.device, inputs.dtype)
        made = parts.decoder(places, z=latents.last_hidden_state).logits
        made = made.transpose(1, 2).reshape(pixel_values.shape)
        loss = (made - pixel_values).square().mean()
        return {"loss": loss, "reconstruction": made, "hidden_states": latents.hidden_states}


GENERATED = {  # generated tokens where the head is a language model
    "generated": {"num_beams": 1},
    "generated_beam": {"num_beams": 3, "length_penalty": 2.0, "early_stopping": True},
}


def generated(model, inputs):
    """The calls of `generate`, and what comes of them."""
    # with the scores of routers PyTorch compares the new tokens with the mask of a whole row
    if (
        model.main_input_name == "states"
        or not model.can_generate()
        or getattr(model.config, "output_router_logits", False)
    ):
        return [], {}
    texts = ("input_ids", "attention_mask", "global_attention_mask", "token_type_ids")
    others = ("input_values", "pixel_values", "image_attention_mask")
    names = [name for name in (*texts, *others) if name in inputs]
    key = {name: name for name in names}
    if (
        not model.config.is_encoder_decoder and "input_ids" in names
    ):  # padding of a prompt is on its left
        key = {name: f"generate__{name}" for name in names if name != "pixel_values"}
        empty = (inputs["attention_mask"] == 0).sum(1)
        roll = lambda x: np.stack([np.roll(row, n, axis=0) for row, n in zip(x, empty)])
        inputs.update({key[name]: roll(inputs[name]) for name in key})
        key |= {"pixel_values": "pixel_values"} if "pixel_values" in names else {}
    tensors = {name: torch.tensor(inputs[key[name]]) for name in names}
    calls, outputs = [], {}
    for output, options in GENERATED.items():
        kwargs = {"max_new_tokens": 8, "do_sample": False, **options}
        kwargs |= {"return_dict_in_generate": True, "output_scores": True}
        result = model.generate(**tensors, **kwargs)
        outputs[output] = result.sequences
        if options["num_beams"] > 1:
            outputs[f"{output}_scores"] = result.sequences_scores
        calls += [{"output": output, "method": "generate", "inputs": key, "kwargs": kwargs}]
    return calls, outputs


def in_mxfp4(folder, cls, rng):
    """A saved model whose experts are stored in four bits, at random: as PyTorch unpacks it."""
    file, tensors = folder / "model.safetensors", {}
    for name, value in load_file(file).items():
        if not name.endswith(("gate_up_proj", "down_proj")):
            tensors[name] = value
            continue
        shape = (value.shape[0], value.shape[2], value.shape[1] // 32)
        packed = {
            "blocks": rng.integers(0, 256, (*shape, 16)),
            "scales": rng.integers(119, 126, shape),
        }
        tensors |= {f"{name}_{half}": torch.tensor(x).to(torch.uint8) for half, x in packed.items()}
    save_file(tensors, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": []}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return cls.from_pretrained(folder, dtype=torch.float32).eval()


def tolerance(output):
    """Of an output: of one with numbers of some dozens as much more."""
    most = output.detach().abs().max().item() if output.is_floating_point() else 0
    return ATOL * max(1.0, round(most / 10))


def make(name, architecture, settings):
    """Config, weights, inputs and outputs of a tiny model, every parameter of which is random."""
    torch.manual_seed(0)
    rng, folder = np.random.default_rng(0), CASES / name
    cls = globals().get(architecture) or getattr(transformers, architecture)
    config = cls.config_class(**settings)
    model = cls(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape))
        for buffer, value in model.named_buffers():
            if buffer.endswith("running_mean"):
                value.add_(0.2 * torch.randn(value.shape))
            if buffer.endswith("running_var"):
                value.add_(torch.rand(value.shape))
            if buffer.endswith("e_score_correction_bias"):  # of which some scores become negative
                value.add_(0.8 * torch.randn(value.shape))
    # "runtime": under the names within transformers, where files have others
    model.save_pretrained(folder, save_original_format=not name.startswith("runtime"))
    model = in_mxfp4(folder, cls, rng) if name.endswith("mxfp4") else model
    folds = architecture.endswith("Folding")
    inputs, masks = (
        (proteins_of(rng), {})
        if folds
        else inputs_of(rng, architecture, config, model, SIZES.get(name))
    )
    # of candidates in rows the reference gives states of two shapes
    kwargs = {"output_hidden_states": "DoubleHeads" not in architecture}
    kwargs = {"num_recycles": 2} if folds else kwargs
    result = model(**as_named(inputs), **kwargs)
    outputs = {}
    for key, value in result.items():
        if isinstance(value, tuple):
            outputs |= {f"{key}_{n}": state for n, state in enumerate(value)}
        elif isinstance(value, dict):
            outputs |= {f"{key}.{name}": part for name, part in value.items()}
        elif isinstance(value, torch.Tensor):
            outputs[key] = value
    forward = list(inputs)
    calls, texts = generated(model, inputs)
    valid = {
        f"{key}__valid": masks[x.shape[1]]
        for key, x in outputs.items()
        if x.ndim > 1 and x.shape[1] in masks
    }
    if folds:
        outputs, there = of_proteins(outputs, inputs["attention_mask"] > 0)
        valid = {f"{key}__valid": where for key, where in there.items()}
    outputs |= texts
    np.savez(folder / "inputs.npz", **inputs)
    np.savez(folder / "outputs.npz", **valid, **{k: x.detach().numpy() for k, x in outputs.items()})
    case = {
        "name": name,
        "family": config.model_type,
        "architecture": architecture,
        "library": "transformers",
        "forward": {"inputs": forward, "kwargs": kwargs},
        "calls": calls,
        "rtol": RTOL,
        "outputs": {key: {"atol": tolerance(x)} for key, x in outputs.items()},
        "pad_token_id": getattr(text_of(config), "pad_token_id", None),
    }
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")


if __name__ == "__main__":
    for case in sys.argv[1:] or CHOSEN:
        make(case, *CHOSEN[case])
