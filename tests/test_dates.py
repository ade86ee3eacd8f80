"""The dates of train/dates.py: their laws, and that a model learns from them."""

import datetime

import numpy as np

from train import dates


def test_examples_are_a_function_of_seed_and_number():
    pairs = [dates.example(3, number) for number in range(50)]
    assert pairs == [dates.example(3, number) for number in range(50)]
    assert pairs != [dates.example(4, number) for number in range(50)]
    assert len(set(pairs)) > 45


def test_held_out_days_are_never_trained_on():
    days = lambda held_out: {dates.example(0, n, held_out)[1] for n in range(2000)}
    assert not days(True) & days(False)
    first = lambda text: (datetime.date.fromisoformat(text) - dates.FIRST).days % dates.HELD_OUT
    assert {first(text) for text in days(True)} == {0}
    assert {first(text) for text in days(False)} == set(range(1, dates.HELD_OUT))


def test_a_text_means_one_day():
    meant = {}
    for number in [*range(1100), *range(dates.DAYS - 1100, dates.DAYS)]:
        day = dates.FIRST + datetime.timedelta(number)
        for writing in dates.WRITINGS:
            assert meant.setdefault(writing(day), day) == day
            assert len(writing(day)) <= dates.WIDTH
    short = {f"{day:%d/%m/%y}" for day in meant.values()}  # the control: 100 years, two digits
    assert len(short) == len(set(meant.values()))
    assert len({f"{day:%d/%m}" for day in meant.values()}) < len(short)


def test_rows_are_read_back_as_they_were_written():
    batch = dates.batch(0, 2, 5)
    for row, label, number in zip(batch["input_ids"], batch["labels"], range(10, 15)):
        assert (dates.text_of(row), dates.text_of(label)) == dates.example(0, number)
    assert np.array_equal(batch["attention_mask"], batch["input_ids"] != dates.PAD)


def test_a_few_steps_make_the_loss_smaller():
    _, losses = dates.train("attention", steps=25, rows=8)
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:2])


def test_what_cannot_be_typed_is_one_line_with_what_can(capsys):
    for arguments, message in (
        (["attention", "transfomer"], "no model is called transfomer; there are bottleneck, "),
        (["--stepz", "3"], "unknown flag --stepz; did you mean '--steps'?"),
    ):
        assert dates.main(arguments) == 2
        assert message in capsys.readouterr().err
