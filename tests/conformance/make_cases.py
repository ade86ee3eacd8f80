"""Makes cases of families for which the public set has none: what PyTorch computes.

python tests/conformance/make_cases.py [CASE ...]       (needs the extra `parity`)
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers

CASES = Path(__file__).parent / "cases"
BERT = dict(
    vocab_size=96,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=40,
)
DEBERTA = dict(
    **BERT, relative_attention=True, pos_att_type=["c2p", "p2c"], position_biased_input=False
)
CONVOLVED = dict(position_buckets=6, norm_rel_ebd="layer_norm", conv_kernel_size=3, conv_groups=2)
LED = dict(
    vocab_size=96,
    d_model=24,
    encoder_layers=3,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=3,
    encoder_ffn_dim=40,
    decoder_ffn_dim=32,
    max_encoder_position_embeddings=64,
    max_decoder_position_embeddings=48,
    attention_window=[4, 4, 8],
)
NOMIC = {**BERT, "rope_parameters": {"rope_type": "default", "rope_theta": 50.0}}
CHOSEN = {
    "camembert-tokens": ("CamembertForTokenClassification", {**BERT, "num_labels": 5}),
    "xlm-roberta-xl-tokens": ("XLMRobertaXLForTokenClassification", {**BERT, "num_labels": 5}),
    "albert-groups": (
        "AlbertForTokenClassification",
        {
            **BERT,
            "num_hidden_layers": 3,
            "num_hidden_groups": 2,
            "inner_group_num": 2,
            "embedding_size": 16,
            "num_labels": 3,
        },
    ),
    "roformer-values": (
        "RoFormerForTokenClassification",
        {**BERT, "embedding_size": 16, "rotary_value": True, "num_labels": 3},
    ),
    "deberta-mlm": ("DebertaForMaskedLM", {**DEBERTA, "max_relative_positions": 9}),
    "led": ("LEDForConditionalGeneration", LED),
    "led-base": ("LEDModel", LED),
    "led-question": ("LEDForQuestionAnswering", LED),
    "nomic-bert-base": ("NomicBertModel", NOMIC),
    "nomic-bert-mlm": ("NomicBertForMaskedLM", NOMIC),
    "nomic-bert-sequence": ("NomicBertForSequenceClassification", {**NOMIC, "num_labels": 4}),
    "nomic-bert-tokens": ("NomicBertForTokenClassification", {**NOMIC, "num_labels": 5}),
    "runtime-nomic-bert": ("NomicBertForMaskedLM", NOMIC),
    "deberta-v2-question": ("DebertaV2ForQuestionAnswering", {**DEBERTA, **CONVOLVED}),
}
ATOL, RTOL = 5e-5, 1e-5  # float32, other orders of summation


GENERATED = {  # generated tokens where the head is a language model
    "generated": {"num_beams": 1},
    "generated_beam": {"num_beams": 3, "length_penalty": 2.0, "early_stopping": True},
}


def rows_of(rng, config, lengths, width):
    """Random words on the left of each row, padding on the right; and where words are."""
    mask = np.arange(width) < np.array(lengths)[:, None]
    return np.where(mask, rng.integers(5, config.vocab_size, mask.shape), config.pad_token_id), mask


def inputs_of(rng, architecture, config):
    """The arguments of the call, and where each length of row has words."""
    ids, mask = rows_of(rng, config, (14, 9, 11), 14)
    inputs = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
    masks = {14: mask}
    if hasattr(config, "attention_window"):
        inputs["global_attention_mask"] = np.isin(np.arange(14), (0, 5))[None].astype(int) * mask
    if architecture.endswith("QuestionAnswering"):
        ends = {"start_positions": np.array([2, 20, 5]), "end_positions": np.array([4, 8, 7])}
        return inputs | ends, masks
    if config.is_encoder_decoder:
        words, masks[8] = rows_of(rng, config, (8, 5, 7), 8)
        name = "decoder_input_ids" if architecture.endswith("Model") else "labels"
        pad = config.pad_token_id if name == "decoder_input_ids" else -100
        inputs[name] = np.where(masks[8], words, pad)
    elif not architecture.endswith("Model"):
        count = config.vocab_size if "MaskedLM" in architecture else config.num_labels
        labels = rng.integers(0, count, mask.shape)
        of_rows = "Sequence" in architecture
        inputs["labels"] = labels[:, 0] if of_rows else np.where(mask, labels, -100)
    return inputs, masks


def generated(model, inputs):
    """The calls of `generate`, and what comes of them."""
    if not model.can_generate():
        return [], {}
    names = [n for n in ("input_ids", "attention_mask", "global_attention_mask") if n in inputs]
    tensors = {name: torch.tensor(inputs[name]) for name in names}
    calls, outputs = [], {}
    for key, options in GENERATED.items():
        kwargs = {"max_new_tokens": 8, "do_sample": False, **options}
        kwargs |= {"return_dict_in_generate": True, "output_scores": True}
        result = model.generate(**tensors, **kwargs)
        outputs[key] = result.sequences
        if options["num_beams"] > 1:
            outputs[f"{key}_scores"] = result.sequences_scores
        arguments = {name: name for name in names}
        calls += [{"output": key, "method": "generate", "inputs": arguments, "kwargs": kwargs}]
    return calls, outputs


def make(name, architecture, settings):
    """Config, weights, inputs and outputs of a tiny model, every parameter of which is random."""
    torch.manual_seed(0)
    rng, folder = np.random.default_rng(0), CASES / name
    cls = getattr(transformers, architecture)
    config = cls.config_class(**settings)
    model = cls(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape))
    # "runtime": under the names within transformers, where files have others
    model.save_pretrained(folder, save_original_format=not name.startswith("runtime"))
    inputs, masks = inputs_of(rng, architecture, config)
    kwargs = {"output_hidden_states": True}
    result = model(**{key: torch.tensor(x) for key, x in inputs.items()}, **kwargs)
    outputs = {}
    for key, value in result.items():
        if isinstance(value, tuple):
            outputs |= {f"{key}_{n}": state for n, state in enumerate(value)}
        elif isinstance(value, torch.Tensor):
            outputs[key] = value
    calls, texts = generated(model, inputs)
    valid = {
        f"{key}__valid": masks[x.shape[1]]
        for key, x in outputs.items()
        if x.ndim > 1 and x.shape[1] in masks
    }
    outputs |= texts
    np.savez(folder / "inputs.npz", **inputs)
    np.savez(folder / "outputs.npz", **valid, **{k: x.detach().numpy() for k, x in outputs.items()})
    case = {
        "name": name,
        "family": config.model_type,
        "architecture": architecture,
        "library": "transformers",
        "forward": {"inputs": list(inputs), "kwargs": kwargs},
        "calls": calls,
        "rtol": RTOL,
        "outputs": {key: {"atol": ATOL} for key in outputs},
        "pad_token_id": config.pad_token_id,
    }
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")


if __name__ == "__main__":
    for case in sys.argv[1:] or CHOSEN:
        make(case, *CHOSEN[case])
