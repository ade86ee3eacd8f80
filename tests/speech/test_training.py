"""Fine-tuning on recordings from end to end: transcription, and CTC with a processor."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.speech.conftest import END, TOKEN
from tests.speech.test_transcribe import ONCE, write
from transformers_jax.data.config import Table
from transformers_jax.data.tables import of_python
from transformers_jax.data.tokenizers import load_tokenizer, train_tokenizer
from transformers_jax.nn.param import params
from transformers_jax.runs.fit import fit
from transformers_jax.tasks import CTC, Transcription
from transformers_jax.tasks.rows import Form
from transformers_jax.training.config import Evaluation, Sample, TrainConfig

TEXTS = ("yes", "no", "one two", "up", "down", "left")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    for number in range(len(TEXTS)):
        time = np.arange(16_000 - 1000 * number) / 16_000
        wave = np.sin(time * 2 * np.pi * 300 * (number + 1)) / 3
        write(folder / f"{number}.wav", wave + rng.normal(size=wave.shape) / 50)
    names = [str(folder / f"{number}.wav") for number in range(len(TEXTS))]
    return [{"audio": name, "text": text} for name, text in zip(names, TEXTS)]


def form_of(folder, **settings):
    model = tj.from_pretrained(folder)
    form = Form(
        Table(**settings), load_tokenizer(folder), model.abstract(),
        {"audio": "audio", "label": "text"}, processor=tj.load_processor(folder),
    )  # fmt: skip
    return model, form


def test_a_target_is_what_whisper_is_trained_to_write(whisper, table):
    _, form = form_of(whisper)
    rows = Transcription(language="english").read(form, of_python("t", table))
    ids = form.tokenizer.encode("yes").tolist()
    names = ("<|en|>", "<|transcribe|>", "<|notimestamps|>")
    expected = [*(TOKEN[name] for name in names), *ids, END]
    assert rows.examples[0].target["labels"].tolist() == expected
    assert rows.examples[0].once["prompt"].tolist() == [
        TOKEN["<|startoftranscript|>"], *expected[:3],
    ]  # fmt: skip
    features = rows.examples[1].once["input_features"]
    np.testing.assert_array_equal(
        features, form.processor(audio=table[1]["audio"])["input_features"][0]
    )
    translated = Transcription(language="de", translates=True)
    labels = translated.read(form, of_python("t", table)).examples[0].target["labels"]
    assert labels[:2].tolist() == [TOKEN["<|de|>"], TOKEN["<|translate|>"]]


def test_times_stand_around_segments(whisper, table):
    _, form = form_of(whisper)
    parts = [{"start": 0.0, "end": 0.2, "text": "a"}, {"start": 0.2, "end": 0.98, "text": "b"}]
    task = Transcription(language="en", timestamps=True)
    rows = task.read(form, of_python("t", [{**table[0], "segments": parts}]))
    zero, letter = TOKEN["<|notimestamps|>"] + 1, lambda one: form.tokenizer.encode(one).tolist()
    assert rows.examples[0].target["labels"].tolist() == [
        TOKEN["<|en|>"], TOKEN["<|transcribe|>"],
        zero, *letter("a"), zero + 10, zero + 10, *letter("b"), zero + 49, END,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="one after the other"):
        task.read(form, of_python("t", [{**table[0], "segments": parts[::-1]}]))


def test_masks_depend_on_the_noise_alone_and_spare_the_evaluation(whisper, table):
    _, form = form_of(whisper)
    task = Transcription(language="en", bands=1, band=4, stretches=1, stretch=30)
    examples = task.read(form, of_python("t", table)).examples
    plain = examples[0].once["input_features"]
    draw = lambda seed: examples.draw(0, np.random.default_rng(seed)).once["input_features"]
    np.testing.assert_array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))
    assert not np.array_equal(draw(3), plain)
    np.testing.assert_array_equal(examples[0].once["input_features"], plain)


ERRORS = {
    "no language": ({}, {}, "--objective.language en"),
    "another language": ({"language": "klingon"}, {}, "this model knows en, de"),
    "no file": ({"language": "en"}, {"audio": "none.wav"}, "none.wav does not exist"),
    "two channels": ({"language": "en"}, {"audio": [[0.0, 1.0]]}, "samples of one channel"),
    "too long": ({"language": "en"}, {"audio": [0.0] * 16_001}, "the model reads 1 s"),
    "long text": ({"language": "en"}, {"text": "a" * 60}, "the model writes 48 at most"),
    "rate": (
        {"language": "en"},
        {"audio": [0.1] * 800, "sampling_rate": 8000},
        "8000 samples a second",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_trained_on_is_refused_by_its_place(whisper, table, name):
    settings, change, words = ERRORS[name]
    _, form = form_of(whisper)
    with pytest.raises(ValueError, match=words):
        Transcription(**settings).read(form, of_python("t", [table[0], {**table[1], **change}]))


def test_another_rate_is_resampled_if_it_is_asked_for(whisper, table):
    _, form = form_of(whisper, resample=True)
    half = [{"audio": np.zeros(4000), "sampling_rate": 8000, "text": "a"}]
    rows = Transcription(language="en").read(form, of_python("t", half))
    assert rows.examples.sounds.lengths.tolist() == [8000]


def test_a_whisper_is_fine_tuned_and_transcribes(whisper, table, tmp_path):
    run = tj.finetune(
        str(whisper), "transcription", table, table[:3], language="en", epochs=1, batch=3,
        learning_rate=1e-3, bands=1, out=str(tmp_path / "run"),
    )  # fmt: skip
    assert {"word_error_rate", "character_error_rate", "exact_match"} <= run.metrics.keys()
    folder = tmp_path / "run" / "model"
    names = {file.name for file in folder.iterdir()}
    assert {"preprocessor_config.json", "tokenizer.json", "generation_config.json"} <= names
    generation = json.loads((folder / "generation_config.json").read_text())
    assert (generation["language"], generation["task"]) == ("en", "transcribe")
    model, processor = tj.from_pretrained(folder), tj.load_processor(folder)
    said = tj.transcribe(model, table[0]["audio"], processor=processor, trust=ONCE)
    assert said.language == "en"
    predicted = tj.predict(run.folder, [{"audio": one["audio"]} for one in table], max_new_tokens=4)
    assert predicted == tj.predict(run.folder, [one["audio"] for one in table], max_new_tokens=4)
    scores = tj.evaluate(folder, table, language="en")
    assert scores["word_error_rate"] >= 0
    assert (tmp_path / "run" / "report.md").read_text().count("no.wav") == 0


def test_what_goes_on_computes_the_same_bits(whisper, table, tmp_path):
    settings = dict(
        language="en", batch=2, schedule_steps=6, bands=1, stretches=1, stretch=20,
        validation_fraction=0.0, keep_best=False, evaluation__per_epoch=0,
    )  # fmt: skip
    out = {name: str(tmp_path / name) for name in ("whole", "cut")}
    whole = tj.finetune(
        str(whisper), "transcription", table, epochs=2, out=out["whole"], **settings
    )
    tj.finetune(str(whisper), "transcription", table, epochs=1, out=out["cut"], **settings)
    cut = tj.finetune(str(whisper), "transcription", table, epochs=2, out=out["cut"], **settings)
    ours, theirs = (jax.tree.leaves(params(run.model)) for run in (whole, cut))
    assert all(np.array_equal(*pair) for pair in zip(ours, theirs))


WAVES = dict(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    conv_dim=(8,),
    conv_kernel=(160,),
    conv_stride=(160,),
    num_conv_pos_embeddings=4,
    num_conv_pos_embedding_groups=2,
    feat_extract_norm="layer",
    do_stable_layer_norm=True,
)


def test_ctc_reads_files_and_is_saved_with_what_reads_them(table, tmp_path):
    names = []
    for name, records in (("train", table), ("validation", table[:2])):
        names.append(tmp_path / f"{name}.jsonl")
        names[-1].write_text("\n".join(map(json.dumps, records)))
    data = Table(train=str(names[0]), validation=str(names[1]), tokenizer="character", batch=3)
    fit(
        TrainConfig(
            model=tj.Wav2Vec2Config(**WAVES),
            objective=CTC(),
            data=data,
            steps=2,
            evaluation=Evaluation(every=2),
            sample=Sample(count=0),
            out=str(tmp_path / "run"),
        )
    )
    folder = tmp_path / "run" / "model"
    features = json.loads((folder / "preprocessor_config.json").read_text())
    assert (features["do_normalize"], features["sampling_rate"]) == (True, 16_000)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    assert vocabulary["<pad>"] == 0
    assert {"|", "<unk>", "e"} < vocabulary.keys()
    model, processor = tj.from_pretrained(folder), tj.load_processor(folder)
    assert model.config.pad_token_id == 0
    said = tj.transcribe(model, table[0]["audio"], processor=processor, chunk=2.0)
    predicted = tj.predict(tmp_path / "run", [table[0]["audio"]])
    assert predicted == [{"text": said.text}]
    # louder is the same, as the processor normalises
    loud = processor.audio_processor.samples(table[0]["audio"]) * 3
    assert tj.predict(folder, [{"audio": loud}], task="ctc") == predicted
    quiet = tj.predict(folder, [{"audio": loud, "sampling_rate": 16_000}], task="ctc")
    assert quiet == predicted
    with pytest.raises(ValueError, match="8000 samples a second"):
        tj.predict(folder, [{"audio": loud, "sampling_rate": 8000}], task="ctc")


def test_a_checkpoint_without_a_processor_asks_for_one(table, tmp_path):
    config = tj.Wav2Vec2Config(**WAVES, vocab_size=8)
    tj.save_pretrained(tj.from_config(config, head="ctc", key=jax.random.key(0)), tmp_path / "m")
    with pytest.raises(ValueError, match=r"--data.sampling-rate 16000"):
        tj.finetune(str(tmp_path / "m"), "speech_pretraining", table, out=str(tmp_path / "run"))


def test_an_encoder_of_waveforms_and_a_decoder_write(table, tmp_path):
    tokenizer = train_tokenizer("character", TEXTS, 64, ("pad", "eos"))
    decoder = tj.GPT2Config(
        vocab_size=tokenizer.max_id + 1, n_positions=16, n_embd=16, n_layer=1, n_head=2,
        add_cross_attention=True,
    )  # fmt: skip
    config = tj.SpeechEncoderDecoderConfig(
        encoder=tj.Wav2Vec2Config(**WAVES),
        decoder=decoder,
        pad_token_id=tokenizer.special_id("pad"),
        eos_token_id=tokenizer.special_id("eos"),
        decoder_start_token_id=tokenizer.special_id("eos"),
    )
    model = tj.from_config(config, head="seq2seq_lm", key=jax.random.key(0))
    tj.save_pretrained(model, tmp_path / "m")
    tokenizer.save(tmp_path / "m")
    run = tj.finetune(
        str(tmp_path / "m"), "transcription", table, table[:2], epochs=1, batch=3,
        sampling_rate=16_000, max_new_tokens=6, out=str(tmp_path / "run"),
    )  # fmt: skip
    assert run.metrics["word_error_rate"] >= 0
    found = tj.predict(run.folder, [table[0]["audio"]])
    assert set(found[0]) == {"text"}
