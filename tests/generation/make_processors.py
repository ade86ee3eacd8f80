"""Writes the fixtures of test_processors.py: what the processors of transformers do to random
scores, and what its `generate` writes with their options.

    python tests/generation/make_processors.py  (needs torch, transformers 5.24; not run by tests)
"""

import json
import pathlib

import numpy as np
import torch
import transformers
from transformers.generation import logits_process

HERE = pathlib.Path(__file__).parent / "processors"
GPT2 = pathlib.Path(__file__).parent / "parity" / "gpt2"
V = 110
EOS = [3, 7]
BIAS = [[[4], 2.5], [[9, 11], -3.0], [[8, 9, 11], 1.5], [[9, 30], 4.0]]
WORDS = [[5], [9, 13], [8, 9, 14], [3]]
TIMES = {"no_timestamps_token_id": 79, "eos_token_id": 60, "max_initial_timestamp_index": 9}
SYNTH = dict(ngram_len=4, keys=[654, 400, 836, 2**40 + 7, 9], sampling_table_size=1021)
SYNTH |= dict(sampling_table_seed=5, context_history_size=16)


def cases():
    """(class, arguments): each is called on a long and on a short text."""
    rng = np.random.default_rng(7)
    source = rng.integers(0, 20, (2, 9)).tolist()
    kept = {"min_tokens_to_keep": 4}
    return [
        *(("MinLengthLogitsProcessor", dict(min_length=n, eos_token_id=EOS)) for n in (2, 3, 12)),
        *(
            ("MinNewTokensLengthLogitsProcessor",
             dict(prompt_length_to_skip=skip, min_new_tokens=3, eos_token_id=3))
            for skip in (1, 9)
        ),
        *(("TemperatureLogitsWarper", dict(temperature=t)) for t in (0.3, 1.7)),
        *(("RepetitionPenaltyLogitsProcessor", dict(penalty=p)) for p in (1.4, 0.6)),
        ("RepetitionPenaltyLogitsProcessor", dict(penalty=1.4, prompt_ignore_length=4)),
        *(
            ("EncoderRepetitionPenaltyLogitsProcessor", dict(penalty=p, encoder_input_ids=source))
            for p in (1.5, 0.5)
        ),
        *(("TopPLogitsWarper", dict(top_p=p)) for p in (0.9, 0.35, 1e-4)),
        ("TopPLogitsWarper", dict(top_p=0.1, **kept)),
        ("TopPLogitsWarper", dict(top_p=0.5, filter_value=-7.0)),
        *(("TopKLogitsWarper", dict(top_k=k)) for k in (1, 9, 500)),
        ("TopKLogitsWarper", dict(top_k=2, filter_value=-5.0, **kept)),
        *(("TopHLogitsWarper", dict(top_h=h)) for h in (0.2, 0.6, 0.95)),
        *(("MinPLogitsWarper", dict(min_p=p)) for p in (0.0, 0.05, 0.4)),
        ("MinPLogitsWarper", dict(min_p=1.0, **kept)),
        *(("TypicalLogitsWarper", dict(mass=m)) for m in (0.2, 0.9, 0.999)),
        ("TypicalLogitsWarper", dict(mass=0.01, **kept)),
        *(("EpsilonLogitsWarper", dict(epsilon=e)) for e in (1e-3, 0.05, 0.9)),
        ("EpsilonLogitsWarper", dict(epsilon=0.9, **kept)),
        *(("EtaLogitsWarper", dict(epsilon=e)) for e in (1e-3, 0.05, 0.9)),
        ("EtaLogitsWarper", dict(epsilon=0.9, **kept)),
        *(("NoRepeatNGramLogitsProcessor", dict(ngram_size=n)) for n in (1, 2, 3)),
        *(
            ("EncoderNoRepeatNGramLogitsProcessor",
             dict(encoder_ngram_size=n, encoder_input_ids=source))
            for n in (1, 2)
        ),
        ("SequenceBiasLogitsProcessor", dict(sequence_bias=BIAS)),
        ("NoBadWordsLogitsProcessor", dict(bad_words_ids=WORDS)),
        ("NoBadWordsLogitsProcessor", dict(bad_words_ids=WORDS, eos_token_id=[3])),
        ("ForcedBOSTokenLogitsProcessor", dict(bos_token_id=6)),
        *(("ForcedEOSTokenLogitsProcessor", dict(max_length=n, eos_token_id=EOS)) for n in (2, 12)),
        ("InfNanRemoveLogitsProcessor", {}),
        *(
            ("ExponentialDecayLengthPenalty",
             dict(exponential_decay_length_penalty=[start, factor], eos_token_id=EOS,
                  input_ids_seq_length=2))
            for start, factor in ((2, 1.2), (0, 0.9), (20, 2.0))
        ),
        ("LogitNormalization", {}),
        *(
            ("SuppressTokensAtBeginLogitsProcessor",
             dict(begin_suppress_tokens=[1, 5, 40], begin_index=n))
            for n in (1, 11)
        ),
        ("SuppressTokensLogitsProcessor", dict(suppress_tokens=[1, 5, 40])),
        *(
            ("WhisperTimeStampLogitsProcessor",
             dict(generate_config=TIMES, begin_index=n, _detect_timestamp_from_logprob=detect))
            for n, detect in ((1, True), (1, False), (4, True), (11, True))
        ),
        *(
            ("WatermarkLogitsProcessor", dict(vocab_size=V, seeding_scheme=scheme, **more))
            for scheme in ("lefthash", "selfhash")
            for more in ({}, dict(greenlist_ratio=0.5, bias=1.5, hashing_key=77, context_width=3))
        ),
    ]  # fmt: skip


def texts(name):
    """A long and a short text, of few tokens, so that some of them come again."""
    rng = np.random.default_rng(3)
    long = rng.integers(0, 20, (2, 11))
    long[0, -2:], long[1, -3:] = [8, 9], [9, 8, 9]
    long[1, 4] = 9
    if name == "WhisperTimeStampLogitsProcessor":
        long[0, 4:] = [84, 12, 85, 85, 13, 14, 88]
        long[1, 4:] = [84, 12, 85, 85, 13, 86, 86]
    return {"long": long, "short": rng.integers(0, 20, (2, 1))}


def scores(name):
    rng = np.random.default_rng(11)
    plain = (rng.normal(size=(2, V)) * 3).astype(np.float32)
    holes = (rng.normal(size=(2, V)) * 3).astype(np.float32)
    holes[rng.random((2, V)) < 0.3] = -np.inf
    if name == "InfNanRemoveLogitsProcessor":
        plain[0, :3] = [np.nan, np.inf, -np.inf]
    return {"long": plain, "short": holes}


def processor(name, arguments):
    arguments = dict(arguments)
    if "encoder_input_ids" in arguments:
        arguments["encoder_input_ids"] = torch.tensor(arguments["encoder_input_ids"])
    if name == "WhisperTimeStampLogitsProcessor":
        config = transformers.GenerationConfig()
        for key, value in arguments["generate_config"].items():
            setattr(config, key, value)
        arguments["generate_config"] = config
    if name == "WatermarkLogitsProcessor":
        arguments["device"] = "cpu"
    return getattr(logits_process, name)(**arguments)


def on_random_scores(arrays):
    made = cases()
    for number, (name, arguments) in enumerate(made):
        for length, ids in texts(name).items():
            given = torch.tensor(scores(name)[length])
            out = processor(name, arguments)(torch.tensor(ids), given.clone())
            arrays[f"{number}_{length}"] = out.numpy()
    for name in ("any", "WhisperTimeStampLogitsProcessor", "InfNanRemoveLogitsProcessor"):
        for length, ids in texts(name).items():
            arrays[f"ids_{name}_{length}"] = ids
            arrays[f"scores_{name}_{length}"] = scores(name)[length]
    guided = np.random.default_rng(1).normal(size=(4, V)).astype(np.float32)
    ids = torch.tensor(texts("any")["long"])
    out = logits_process.ClassifierFreeGuidanceLogitsProcessor(2.5)(ids, torch.tensor(guided))
    arrays |= {"guided": guided, "guided_out": out.numpy()}
    synth(arrays)
    (HERE / "cases.json").write_text(json.dumps(made) + "\n")


def synth(arrays):
    """One call after the other, as in a loop: SynthID counts its calls."""
    rng = np.random.default_rng(2)
    ids = rng.integers(0, 2, (2, 15))  # few tokens: contexts come again
    given = rng.normal(size=(11, 2, V)).astype(np.float32)
    arrays |= {"synth_ids": ids, "synth_scores": given}
    for skip in (False, True):
        made = logits_process.SynthIDTextWatermarkLogitsProcessor(
            **SYNTH, device="cpu", skip_first_ngram_calls=skip
        )
        steps = [
            made(torch.tensor(ids[:, : 5 + step]), torch.tensor(given[step])).numpy()
            for step in range(11)
        ]
        arrays[f"synth_{int(skip)}"] = np.stack(steps)
    tensor = torch.tensor(ids)
    arrays["synth_g"] = made.compute_g_values(tensor).numpy()
    arrays["synth_repeated"] = made.compute_context_repetition_mask(tensor).numpy()


WRITTEN = [
    {"sequence_bias": [[[5], 3.0], [[9, 11], -4.0], [[0], -9.0]], "repetition_penalty": 1.2},
    {"encoder_repetition_penalty": 1.6, "no_repeat_ngram_size": 2},
    {"exponential_decay_length_penalty": [2, 1.4], "remove_invalid_values": True},
    {"exponential_decay_length_penalty": [1, 1.2], "num_beams": 3, "renormalize_logits": True},
    {"guidance_scale": 1.7, "negative": True, "use_cache": False},
    {"guidance_scale": 1.4, "use_cache": False, "suppress_tokens": [3, 11]},
    {"watermarking_config": {"bias": 3.0, "hashing_key": 31}},
    {"watermarking_config": {"seeding_scheme": "selfhash", "context_width": 2}, "min_length": 14},
    {"watermarking_config": SYNTH},
    {"watermarking_config": {"greenlist_ratio": 0.5}, "num_beams": 2},
    {"do_sample": True, "top_k": 0, "min_p": 0.02, "temperature": 1.3, "max_new_tokens": 1},
    {"do_sample": True, "top_k": 40, "typical_p": 0.8, "max_new_tokens": 1},
    {"do_sample": True, "top_k": 0, "top_h": 0.7, "epsilon_cutoff": 0.002, "max_new_tokens": 1},
    {"do_sample": True, "top_k": 0, "eta_cutoff": 0.01, "top_p": 0.95, "max_new_tokens": 1},
    {"do_sample": True, "num_beams": 2, "top_k": 1, "eta_cutoff": 0.9, "max_new_tokens": 1},
]


def by_generate(arrays):
    model = transformers.GPT2LMHeadModel.from_pretrained(GPT2).eval()
    with np.load(GPT2 / "expected.npz") as file:
        ids, mask = file["input_ids"], file["attention_mask"]
    rng = np.random.default_rng(9)
    negative = rng.integers(2, 50, (3, 4))
    arrays["negative_prompt_ids"] = negative
    for number, call in enumerate(WRITTEN):
        call = {"max_new_tokens": 9, "do_sample": False, **call}
        if call.pop("negative", False):
            call["negative_prompt_ids"] = torch.tensor(negative)
        rows = slice(0, 1) if "encoder_repetition_penalty" in call else slice(0, 3)
        marks = call.get("watermarking_config")
        if marks is SYNTH:
            call["watermarking_config"] = transformers.SynthIDTextWatermarkingConfig(**SYNTH)
        elif marks is not None:
            call["watermarking_config"] = transformers.WatermarkingConfig(**marks)
        torch.manual_seed(0)
        out = model.generate(
            input_ids=torch.tensor(ids[rows]), attention_mask=torch.tensor(mask[rows]), **call,
            return_dict_in_generate=True, output_scores=True,
        )  # fmt: skip
        arrays[f"written_{number}"] = out.sequences.numpy()
        steps = out.scores if call.get("num_beams", 1) == 1 else out.scores[:1]
        arrays[f"written_{number}_scores"] = torch.stack(steps).numpy()
    detected(model.config, arrays)
    (HERE / "written.json").write_text(json.dumps(WRITTEN) + "\n")


def detected(config, arrays):
    """What the detector says of the marked texts, new tokens only, and of one that is not."""
    for number, call in enumerate(WRITTEN):
        marks = call.get("watermarking_config")
        if marks is None or marks is SYNTH:
            continue
        for once in (False, True):
            detector = transformers.WatermarkDetector(
                config, "cpu", transformers.WatermarkingConfig(**marks).to_dict(),
                ignore_repeated_ngrams=once,
            )  # fmt: skip
            for text in (number, 0):
                ids = torch.tensor(arrays[f"written_{text}"][:, -9:])
                out = detector(ids, return_dict=True)
                arrays[f"detected_{number}_{text}_{int(once)}"] = np.stack(
                    [out.num_tokens_scored, out.num_green_tokens, out.z_score, out.p_value]
                )


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    arrays = {}
    on_random_scores(arrays)
    by_generate(arrays)
    np.savez_compressed(HERE / "expected.npz", **arrays)
    print(len(arrays), "arrays,", (HERE / "expected.npz").stat().st_size, "bytes")
