"""Tasks of recordings: texts by connectionist temporal classification, and pretraining."""

import json
import re

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.docs.test_task_pages import rows_of
from transformers_jax.data.config import Table
from transformers_jax.data.evaluated import evaluation_batches
from transformers_jax.data.generated import TABLES
from transformers_jax.data.tables import of_python
from transformers_jax.optim import AdamW
from transformers_jax.runs.answering import opened
from transformers_jax.runs.fit import fit
from transformers_jax.tasks import CTC, SpeechPretraining
from transformers_jax.tasks.speech_pretraining import drawn_negatives
from transformers_jax.training.config import Evaluation, Sample, TrainConfig

MODEL = dict(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    conv_dim=(8,),
    conv_kernel=(40,),
    conv_stride=(40,),
    num_conv_pos_embeddings=4,
    num_conv_pos_embedding_groups=2,
    feat_extract_norm="layer",
    do_stable_layer_norm=True,
    num_codevectors_per_group=4,
    codevector_dim=8,
    proj_codevector_dim=8,
    num_negatives=5,
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    records = TABLES["dtmf"]("validation")[:24]
    short = lambda samples: [round(float(x), 3) for x in samples]
    return [{"audio": short(record["audio"]), "text": record["text"]} for record in records]


def run(folder, table, objective, **settings):
    names = []
    tokenizer = "character" if isinstance(objective, CTC) else "byte"
    for name, records in (("train", table), ("validation", table[:7])):
        names.append(folder.parent / f"{name}.jsonl")
        names[-1].write_text("\n".join(map(json.dumps, records)))
    data = Table(train=str(names[0]), validation=str(names[1]), tokenizer=tokenizer, batch=4)
    return fit(
        TrainConfig(
            model=tj.Wav2Vec2Config(**{**MODEL, **settings}),
            objective=objective,
            data=data,
            optimizer=AdamW(peak=1e-3),
            steps=3,
            evaluation=Evaluation(every=3),
            sample=Sample(count=0),
            out=str(folder),
        )
    )


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, table):
    folder = tmp_path_factory.mktemp("trained") / "run"
    run(folder, table, CTC())
    return folder


def test_recordings_are_trained_on_and_their_texts_compared(trained):
    last = [line for line in lines(trained) if "eval_exact_match" in line][-1]
    assert np.isfinite(last["eval_loss"])
    assert 0 <= last["eval_exact_match"] <= 1 <= last["eval_character_error_rate"] + 1
    model = tj.from_pretrained(trained / "model")
    assert model.plan.head == "ctc"


@pytest.mark.parametrize(
    ("record", "match"),
    [
        ({"audio": [[0.0, 1.0]], "text": "1"}, "samples of one channel"),
        ({"audio": [0.0, float("nan")] * 100, "text": "1"}, "finite numbers"),
        ({"audio": [0.5] * 80, "text": "1234"}, "4 symbols do not fit into the 2 frames"),
        ({"audio": [0.5] * 30, "text": "1"}, "30 samples are less than one frame"),
        ({"audio": None, "text": "1"}, "'audio' holds nothing; expected"),
        ({"sound": [0.5] * 80, "text": "1"}, "none of 'audio'"),
    ],
)
def test_what_is_no_recording_is_refused_by_its_place(tmp_path, table, record, match):
    with pytest.raises(ValueError, match=match) as error:
        run(tmp_path / "run", [*table[:7], record] if "audio" in record else [record], CTC())
    patterns = [".*".join(map(re.escape, row.split("..."))) for row in rows_of("speech")]
    assert any(re.fullmatch(one, str(error.value), re.DOTALL) for one in patterns)


def test_recordings_that_cannot_be_read_are_left_out_where_it_is_asked_for(trained, table):
    wrong = [{"audio": [], "text": "1"}, {"audio": "none.wav", "text": "2"}]
    answering = opened(trained, None, None, {"damaged": "skip", "batch": 4})
    read, _ = answering.read(of_python("some", [wrong[0], *table[:5], wrong[1]]), answered=True)
    assert [record["text"] for record in read.records.records] == [one["text"] for one in table[:5]]
    assert len(read.examples) == len(read.references) == 5
    assert re.search(r"left out, 2 of 7 .*some\[0\].*some\[6\].*none\.wav", read.records.note)
    with pytest.raises(ValueError, match=r"some: 2 of 2 recordings cannot be read"):
        answering.read(of_python("some", wrong), answered=True)
    said = tj.predict(trained, [*table[:2], *wrong, table[2]], damaged="skip")
    assert ["error" in one for one in said] == [False, False, True, True, False]
    assert said[4] == tj.predict(trained, table[2:3])[0]


def test_recordings_of_like_length_are_in_a_batch_and_are_answered_alike(trained, table):
    found, widths = {}, {}
    for rows in ("padded", "bucketed"):
        answering = opened(trained, None, None, {"rows": rows, "batch": 4})
        records = of_python("some", table)
        read, form = answering.read(records, answered=True)
        batches = evaluation_batches(answering.part(read, form), "some")
        widths[rows] = [batch["input_values"].shape[1] for batch in batches]
        numbers = np.concatenate([batch["number"] for batch in batches])
        assert sorted(numbers) == [*range(24)]
        path = answering.answers(records, answered=True)[0]["path"]
        found[rows] = answering.losses(records)["loss"], [one[one >= 0].tolist() for one in path]
    assert found["padded"][1] == found["bucketed"][1]
    assert {*map(len, found["padded"][1])} == {len(one["audio"]) // 40 for one in table}
    np.testing.assert_allclose(found["padded"][0], found["bucketed"][0], rtol=1e-5)
    # multiples of 32 frames, of which the longest has 81
    assert {*widths["padded"]} == {96 * 40}
    assert widths["bucketed"] == sorted(widths["bucketed"])
    assert {*widths["bucketed"]} == {64 * 40, 96 * 40}


def test_no_recording_is_cut_to_the_length_of_rows(trained, table):
    where = np.argmax([len(record["audio"]) for record in table])
    with pytest.raises(ValueError, match=rf"\[{where}\]: .* frames, and rows have 9 at most"):
        tj.predict(trained, table, length=9)


def test_pretraining_ends_where_the_codebooks_collapse(tmp_path, table):
    sounds = [{"audio": record["audio"]} for record in table]
    run(tmp_path / "run", sounds, SpeechPretraining(mask_length=3))
    figures = lines(tmp_path / "run")
    used = [line["codevector_perplexity"] for line in figures if "codevector_perplexity" in line]
    assert all(2 <= value <= 8.001 for value in used)
    assert len(used) == 3
    asked = SpeechPretraining(mask_length=3, least_words=1.0, grace=2)
    with pytest.raises(FloatingPointError, match=r"collapsed: at step 2 .* of 8 .*asks for 8\.0"):
        run(tmp_path / "other", sounds, asked)


def test_what_is_predicted_names_its_column(trained, table):
    said = tj.predict(trained, [{"sound": table[0]["audio"]}], audio="sound")
    assert set(said[0]) == {"text"}
    with pytest.raises(ValueError, match=r"none of 'audio', .*: pass --data.audio NAME"):
        tj.predict(trained, [{"sound": table[0]["audio"]}])


def test_pretraining_predicts_nothing_and_says_so(tmp_path, table):
    sounds = [{"audio": record["audio"]} for record in table]
    run(tmp_path / "run", sounds, SpeechPretraining(mask_length=3))
    found = tj.evaluate(tmp_path / "run", sounds[:4])
    assert found["loss"] == pytest.approx(found["contrastive"] + found["diversity"])
    with pytest.raises(ValueError, match=r"evaluate\(\) gives its loss"):
        tj.predict(tmp_path / "run", sounds[:4])


def test_negatives_are_other_hidden_frames_of_the_row():
    hidden = np.zeros((3, 9), bool)
    hidden[0, [1, 4, 6, 8]] = hidden[1, [0, 2]] = hidden[2, 5] = True
    drawn = np.asarray(drawn_negatives(jax.random.key(0), hidden, 200))
    for row, frame in ((0, 4), (1, 0)):
        others = set(np.flatnonzero(hidden[row])) - {frame}
        assert set(drawn[row, frame] - 9 * row) == others
    shares = np.bincount(drawn[0, 4], minlength=9)[[1, 6, 8]] / 200
    assert (np.abs(shares - 1 / 3) < 0.12).all()
    assert set(drawn[2, 5] - 18) == {5}  # alone
