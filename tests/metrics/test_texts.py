"""ROUGE, BLEU and chrF are those of rouge-score and sacreBLEU."""

import random

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from transformers_jax import metrics
from transformers_jax.metrics import texts

WORDS = "the cat sat on a mat while running dogs ran quickly home .".split()


def sentences(count, seed):
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 9))) for _ in range(count)]


PREDICTED, EXPECTED, OTHER = (sentences(8, seed) for seed in range(3))


def test_rouge_is_the_mean_of_rouge_scores_f_measures():
    predicted = [*PREDICTED, "dogs ran home\nthe cats sat", ""]
    expected = [*EXPECTED, "the cat sat\na dog ran home", "cat"]
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=True)
    each = [scorer.score(e, p) for p, e in zip(predicted, expected)]
    for name, value in metrics.rouge(predicted, expected).items():
        assert value == pytest.approx(sum(s[name].fmeasure for s in each) / len(each))


def test_a_case_of_rouge_by_hand():
    scores = metrics.rouge(["the cats sat"], ["the cat sat down"])
    # stems: the cat sat | the cat sat down: 3 of 3 and 3 of 4 words; pairs 2 of 2 and 2 of 3
    assert scores == pytest.approx({"rouge1": 6 / 7, "rouge2": 4 / 5} | dict.fromkeys(
        ("rougeL", "rougeLsum"), 6 / 7))  # fmt: skip
    plain = metrics.rouge(["the cats sat"], ["the cat sat down"], stemmer=False)
    assert plain["rouge1"] == pytest.approx(2 * 2 / 7)  # the, sat


def test_only_rouge_lsum_reads_lines_as_sentences():
    scores = metrics.rouge(["b c\na d"], ["a d\nb c"])
    assert scores["rougeLsum"] == 1
    assert scores["rougeL"] == pytest.approx(1 / 2)
    assert metrics.rouge(["b c a d"], ["a d b c"])["rougeLsum"] == pytest.approx(1 / 2)


def test_errors_of_words_are_counted_as_they_are_and_without_marks():
    found = metrics.word_error_rate(["Hello world", "a b"], ["hello, world [noise]", "a b c"])
    assert found["word_error_rate"] == pytest.approx((2 + 1) / (3 + 3))
    assert found["normalized_word_error_rate"] == pytest.approx(1 / 5)
    same = ["Ça va (bien)?"]
    assert metrics.word_error_rate(same, ["ça va"])["normalized_word_error_rate"] == 0
    assert metrics.word_error_rate(["ca va"], ["ça va"])["normalized_word_error_rate"] == 0.5


def test_translations_are_scored_by_sacrebleu():
    assert metrics.translation(PREDICTED, EXPECTED) == {
        "bleu": sacrebleu.corpus_bleu(PREDICTED, [EXPECTED]).score,
        "chrf": sacrebleu.corpus_chrf(PREDICTED, [EXPECTED]).score,
    }
    both = metrics.translation(PREDICTED, list(zip(EXPECTED, OTHER)))
    assert both == {
        "bleu": sacrebleu.corpus_bleu(PREDICTED, [EXPECTED, OTHER]).score,
        "chrf": sacrebleu.corpus_chrf(PREDICTED, [EXPECTED, OTHER]).score,
    }
    lower = metrics.translation([t.upper() for t in PREDICTED], EXPECTED, "char", lowercase=True)
    assert lower["bleu"] == pytest.approx(
        sacrebleu.corpus_bleu(PREDICTED, [EXPECTED], tokenize="char").score
    )


def test_texts_may_differ_in_their_number_of_references():
    expected = [[e, o][: 1 + n % 2] for n, (e, o) in enumerate(zip(EXPECTED, OTHER))]
    streams = [[refs[k] if k < len(refs) else None for refs in expected] for k in range(2)]
    wanted = sacrebleu.corpus_bleu(PREDICTED, streams).score
    assert metrics.translation(PREDICTED, expected)["bleu"] == wanted
    assert "nrefs:var" in metrics.translation_signatures(expected)["bleu"]


def test_the_comparison_notices_a_mean_over_texts():
    """Negative control: BLEU is of the corpus, not the mean over its texts."""
    mean = sum(metrics.translation([p], [e])["bleu"] for p, e in zip(PREDICTED, EXPECTED))
    assert metrics.translation(PREDICTED, EXPECTED)["bleu"] != pytest.approx(mean / len(PREDICTED))


@pytest.mark.parametrize("options", [{}, {"tokenize": "intl", "lowercase": True}])
def test_signatures_are_those_of_sacrebleu(options):
    pairs = list(zip(EXPECTED, OTHER))
    bleu = sacrebleu.BLEU(**options)
    bleu.corpus_score(PREDICTED, [EXPECTED, OTHER])
    chrf = sacrebleu.CHRF(lowercase=options.get("lowercase", False))
    chrf.corpus_score(PREDICTED, [EXPECTED, OTHER])
    signatures = metrics.translation_signatures(pairs, **options)
    assert signatures == {"bleu": str(bleu.get_signature()), "chrf": str(chrf.get_signature())}
    assert "nrefs:2" in signatures["bleu"]


def test_perfect_texts_have_the_highest_score():
    texts = ["the cat sat on a mat", "dogs ran home quickly today"]
    assert set(metrics.rouge(texts, texts).values()) == {1.0}
    assert metrics.translation(texts, texts) == pytest.approx({"bleu": 100, "chrf": 100})
    assert metrics.exact_match(texts, texts) == {"exact_match": 1.0}


def test_exact_match_forgives_nothing():
    assert metrics.exact_match(["a", "A", "b ", ""], ["a", "a", "b", ""]) == {"exact_match": 0.5}


@pytest.mark.parametrize("metric", [metrics.rouge, metrics.translation])
def test_without_the_library_it_is_said_what_to_install(metric, monkeypatch):
    def missing(name, *_):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(texts.need.__globals__["importlib"], "import_module", missing)
    with pytest.raises(ValueError, match=r'extra `eval` .*pip install "transformers-jax\[eval\]"'):
        metric(["a"], ["a"])
    assert metrics.exact_match(["a"], ["a"])


@pytest.mark.parametrize(
    ("predicted", "expected", "words"),
    [
        (["a"], ["a", "b"], "predicted 1, expected 2"),
        ([], [], "is empty"),
        (["a", 3], ["a", "b"], r"predicted\[1\] is int 3"),
        ("ab", ["a", "b"], "predicted: expected a list of texts, got str"),
        (["a"], [None], r"expected\[0\] is NoneType None"),
    ],
)
def test_wrong_texts_are_refused(predicted, expected, words):
    for metric in (metrics.rouge, metrics.translation, metrics.exact_match):
        with pytest.raises(ValueError, match=words):
            metric(predicted, expected)


def test_wrong_references_are_refused():
    with pytest.raises(ValueError, match=r"without a reference: expected\[1\]"):
        metrics.translation(["a", "b"], [["a"], []])
    with pytest.raises(ValueError, match=r"expected\[0\]\[1\] is int 1"):
        metrics.translation(["a"], [["a", 1]])
    with pytest.raises(ValueError, match="tokenize='13b': it is one of 13a, char"):
        metrics.translation(["a"], ["a"], tokenize="13b")
