"""Random arguments of a call of the reference, by what a model reads."""

import numpy as np
import torch


def text_of(config):
    """The config that says what words there are."""
    return getattr(config, "text_config", None) or config


def rows_of(rng, config, lengths, width):
    """Random words on the left of each row, padding on the right; and where words are."""
    mask = np.arange(width) < np.array(lengths)[:, None]
    return np.where(mask, rng.integers(5, config.vocab_size, mask.shape), config.pad_token_id), mask


def waves_of(rng, architecture, config, model):
    """The arguments of a call of a model of waveforms, and where rows have audio."""
    lengths = np.array((600, 390, 500))
    samples = np.arange(600) < lengths[:, None]
    values = np.where(samples, rng.normal(size=samples.shape), 0).astype(np.float32)
    inputs = {"input_values": values, "attention_mask": samples.astype(np.int64)}
    reader = getattr(config, "encoder", config)
    frames = lengths
    for kernel, stride in zip(reader.conv_kernel, reader.conv_stride):
        frames = (frames - kernel) // stride + 1
    masks = {frames[0]: np.arange(frames[0]) < frames[:, None]}
    if getattr(reader, "add_adapter", False):
        for _ in range(reader.num_adapter_layers):
            frames = (frames - 1) // reader.adapter_stride + 1
        masks[frames[0]] = np.arange(frames[0]) < frames[:, None]
    first = max(masks)
    if architecture.endswith("CTC"):
        labels = rng.integers(1, config.vocab_size, (3, 6))
        labels[1, 3:], labels[2, 0] = -100, -100
        labels[0, 1] = labels[0, 0]
        inputs["labels"] = labels
    elif architecture.endswith("PreTraining"):
        hidden = (rng.random((3, first)) < 0.4) & masks[first]
        inputs["mask_time_indices"] = hidden
        index = [rng.choice(np.flatnonzero(row), (first, 5)) + n * first
                 for n, row in enumerate(hidden)]  # fmt: skip
        inputs["sampled_negative_indices"] = np.stack(index)
    elif architecture == "Wav2Vec2Model" and not config.do_stable_layer_norm:
        inputs["mask_time_indices"] = rng.random((3, first)) < 0.4
    elif "Frame" in architecture:
        inputs["labels"] = np.eye(config.num_labels)[rng.integers(0, config.num_labels, (3, first))]
    elif "Sequence" in architecture or "XVector" in architecture:
        inputs["labels"] = rng.integers(0, config.num_labels, 3)
    elif config.is_encoder_decoder:
        words = rng.integers(5, config.decoder.vocab_size, (3, 7))
        inputs["labels"] = np.where(np.arange(7) < np.array((7, 4, 6))[:, None], words, -100)
    return inputs, masks


def images_of(rng, architecture, config, size):
    """The arguments of a call of a model of images."""
    pair = lambda size: (size, size) if isinstance(size, int) else tuple(size)
    height, width = pair(config.image_size if size is None else size)
    patch = pair(getattr(config, "patch_size", 1))
    rows, columns = (n // p for n, p in zip((height, width), patch))
    inputs = {"pixel_values": rng.normal(size=(2, config.num_channels, height, width))}
    inputs["pixel_values"] = inputs["pixel_values"].astype(np.float32)
    if "ForMaskedImage" in architecture:
        inputs["bool_masked_pos"] = rng.random((2, rows * columns)) < 0.4
    if architecture == "BeitForMaskedImageModeling":
        count = inputs["bool_masked_pos"].sum()
        inputs["labels"] = rng.integers(0, config.vocab_size, count)
    if architecture.endswith("ForImageClassification"):
        inputs["labels"] = rng.integers(0, config.num_labels, 2)
    if architecture.endswith("ForSemanticSegmentation"):
        labels = rng.integers(0, config.num_labels, (2, height, width))
        labels[0, :3] = config.semantic_loss_ignore_index
        inputs["labels"] = labels
    if architecture.startswith("ViTMAE"):
        inputs["noise"] = rng.random((2, rows * columns)).astype(np.float32)
    return inputs


def steps_of(rng, config):
    """Steps of episodes that end together, so that padding is in front; and where they are."""
    shape, real = (3, 7), np.arange(7) >= np.array([0, 4, 2])[:, None]
    draw = lambda width: rng.normal(size=(*shape, width)).astype(np.float32)
    inputs = {"states": draw(config.state_dim), "actions": draw(config.act_dim)}
    inputs |= {"rewards": draw(1), "returns_to_go": draw(1)}
    inputs["timesteps"] = np.where(real, np.arange(7) + 3 - (~real).sum(1, keepdims=True), 0)
    inputs["attention_mask"] = real.astype(np.int64)
    return inputs, {7: real, 21: real.repeat(3, axis=1)}


def perceived(rng, architecture, config):
    """The arguments of a call of a Perceiver, whatever it reads."""
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    if architecture == "PerceiverModel":
        mask = np.arange(11) < np.array((11, 6))[:, None]
        return {"inputs": draw(2, 11, config.d_model), "attention_mask": mask.astype(np.int64)}
    if architecture == "PerceiverForOpticalFlow":
        return {"inputs": draw(2, 2, 27, *config.train_size)}
    if architecture == "PerceiverForMultimodalAutoencoding":
        frames, side = config.num_frames, config.image_size
        samples = frames * config.audio_samples_per_frame
        return {
            "image": draw(2, frames, 3, side, side),
            "audio": draw(2, samples, 1),
            "label": draw(2, config.num_labels),
            "image_points": rng.integers(0, np.prod(config.output_shape[1:]), 13),
            "audio_points": rng.integers(0, samples // config.samples_per_patch, 5),
        }
    if "Image" in architecture:
        pixels = draw(2, 3, config.image_size, config.image_size)
        if architecture.endswith("Autoencoding"):
            return {"pixel_values": pixels}
        return {"pixel_values": pixels, "labels": rng.integers(0, config.num_labels, 2)}
    length = config.max_position_embeddings  # of labels, whatever the length of the input is
    mask = np.arange(length) < np.array((length, 9))[:, None]
    ids, labels = rng.integers(6, config.vocab_size, (2, 2, length))
    labels = np.where(mask, labels, -100) if "Masked" in architecture else labels[:, 0] % 2
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64), "labels": labels}


def as_named(inputs):
    """The arguments as the reference takes them, which are ours but for those of a video."""
    tensors = {name: torch.tensor(x) for name, x in inputs.items()}
    if "image_points" not in tensors:
        return tensors
    points = {name: tensors[f"{name}_points"] for name in ("image", "audio")}
    return {
        "inputs": {name: tensors[name] for name in ("image", "audio", "label")},
        "subsampled_output_points": {**points, "label": None},
    }


def inputs_of(rng, architecture, config, model, size=None):
    """The arguments of the call, and where each length of row has words."""
    if model.main_input_name == "states":
        return steps_of(rng, config)
    if config.model_type == "perceiver":
        return perceived(rng, architecture, config), {}
    if model.main_input_name == "pixel_values":
        return images_of(rng, architecture, config, size), {}
    if "audio" in model.input_modalities and hasattr(config, "max_length"):
        shape = (3, config.max_length, config.num_mel_bins)
        inputs = {"input_values": rng.normal(size=shape).astype(np.float32)}
        if not architecture.endswith("Model"):
            inputs["labels"] = rng.integers(0, config.num_labels, 3)
        return inputs, {}
    if "audio" in model.input_modalities:
        return waves_of(rng, architecture, config, model)
    whole, config = config, text_of(config)
    ids, mask = rows_of(rng, config, (14, 9, 11), 14)
    if getattr(config, "token_dropout", False):  # so that some tokens are dropped
        ids = np.where(mask & (np.arange(14) % 5 == 3), config.mask_token_id, ids)
    inputs = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
    masks = {14: mask}
    if hasattr(config, "attention_window"):
        inputs["global_attention_mask"] = np.isin(np.arange(14), (0, 5))[None].astype(int) * mask
    if architecture.endswith("QuestionAnswering"):
        ends = {"start_positions": np.array([2, 20, 5]), "end_positions": np.array([4, 8, 7])}
        return inputs | ends, masks
    if architecture == "Blip2QFormerModel":
        states = rng.normal(size=(3, 7, config.encoder_hidden_size)).astype(np.float32)
        seen = np.arange(7) < np.array([7, 4, 5])[:, None]
        latents = rng.normal(size=(3, 5, config.hidden_size)).astype(np.float32)
        return {
            "query_embeds": latents,
            "encoder_hidden_states": states,
            "encoder_attention_mask": seen.astype(np.int64),
        }, {}
    if architecture.endswith("DoubleHeadsModel"):  # which takes no mask of [B C T]
        ids, labels = (rng.integers(5, config.vocab_size, (2, 3, 9)) for _ in range(2))
        labels[0, 1, 2:5] = -100
        choices = {"mc_token_ids": np.array([[8, 4, 5], [7, 8, 2]]), "mc_labels": np.array([1, 2])}
        return {"input_ids": ids, "labels": labels, **choices}, {}
    if config.is_encoder_decoder:
        words, masks[8] = rows_of(rng, config, (8, 5, 7), 8)
        name = "decoder_input_ids" if architecture.endswith("Model") else "labels"
        pad = config.pad_token_id if name == "decoder_input_ids" else -100
        inputs[name] = np.where(masks[8], words, pad)
    elif architecture.endswith("LMHeadModel") or not architecture.endswith("Model"):
        writes = ("MaskedLM", "CausalLM", "LMHead", "Text2Text", "ConditionalGeneration")
        of_words = any(name in architecture for name in writes)
        count = text_of(config).vocab_size if of_words else config.num_labels
        labels = rng.integers(0, count, mask.shape)
        of_rows = "Sequence" in architecture
        inputs["labels"] = labels[:, 0] if of_rows else np.where(mask, labels, -100)
    if hasattr(whole, "vision_config"):
        inputs, mask = with_images(rng, whole, inputs)
        masks[mask.shape[1]] = mask
    return inputs, masks


def proteins_of(rng):
    """The types of residues of three proteins of several lengths, and where these are in a chain
    that has a gap."""
    there = np.arange(10) < np.array([10, 6, 8])[:, None]
    places = np.arange(10) + 5 * (np.arange(10) > 3)
    return {
        "input_ids": np.where(there, rng.integers(0, 21, there.shape), 0),
        "attention_mask": there.astype(np.int64),
        "position_ids": np.broadcast_to(places, there.shape).copy(),
    }


def of_proteins(outputs, there):
    """The outputs that a batch of several lengths has, and where they hold residues."""
    steps = ("frames", "angles", "positions", "states", "lddt_head")
    pairs = ("s_z", "distogram_logits", "ptm_logits", "aligned_confidence_probs")
    valid = {}
    for name, value in outputs.items():
        if name.endswith(steps):
            valid[name] = np.broadcast_to(there, (len(value), *there.shape))
        elif name in (*pairs, "predicted_aligned_error"):
            valid[name] = there[:, :, None] & there[:, None]
        elif value.ndim > 1:
            valid[name] = there
    # the reference scores the padding as well; bins of each atom are many, and plddt has them
    left_out = ("ptm", "lddt_head")
    kept = {name: value for name, value in outputs.items() if name not in left_out}
    return kept, {name: where for name, where in valid.items() if name in kept}


def with_images(rng, config, inputs):
    """The arguments with images: an image token for each of their vectors behind the first word, or
    the images of its row to which each word attends; and where words are."""
    vision, ids, mask = config.vision_config, inputs["input_ids"], inputs["attention_mask"]
    image = getattr(config, "image_token_index", None)
    ids = np.where(ids == image, 5, ids)
    shape = (3, vision.image_size, vision.image_size)
    draw = lambda *first: rng.normal(size=(*first, *shape)).astype(np.float32)
    if config.model_type == "idefics":
        seen = np.arange(ids.shape[1])[:, None] >= np.array([2, 6])
        images = {"pixel_values": draw(3, 2), "image_attention_mask": (seen * mask[..., None]) * 1}
        return {**inputs, **images}, mask > 0
    patches = (vision.image_size // vision.patch_size) ** 2
    patches += getattr(config, "vision_feature_select_strategy", None) == "full"
    count = getattr(config, "num_query_tokens", patches)
    at = lambda x, value: np.insert(x, [1] * count, value, axis=1)
    inputs = {**inputs, "input_ids": at(ids, image), "attention_mask": at(mask, 1)}
    if (labels := inputs.get("labels")) is not None and len(labels[0]) == len(ids[0]):
        inputs["labels"] = at(labels, -100)
    if config.model_type == "paligemma":  # image and prompt are a prefix, padding is none of it
        inputs["token_type_ids"] = (np.arange(ids.shape[1] + count) >= count + 4) * at(mask, 1)
    return {**inputs, "pixel_values": draw(3)}, at(mask, 1) > 0
