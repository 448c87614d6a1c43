import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

from helpers import evaluate

RANKED = np.array([list("abaab"), list("bbbaa")])
QUERIES = np.array(["a", "a"])


def test_precision_and_hits_by_hand():
    assert evaluate.precision_at_k(RANKED, QUERIES, 1).tolist() == [1, 0]
    assert evaluate.precision_at_k(RANKED, QUERIES, 4).tolist() == [0.75, 0.25]
    assert evaluate.hit_at_k(RANKED, QUERIES, 3).tolist() == [1, 0]
    assert evaluate.hit_at_k(RANKED, QUERIES, 4).tolist() == [1, 1]


def test_precision_beyond_the_ranking_counts_the_missing_as_wrong():
    assert evaluate.precision_at_k(RANKED, QUERIES, 10).tolist() == [0.3, 0.2]


def test_average_precision_by_hand():
    first = (1 / 1 + 2 / 3 + 3 / 4) / 3
    second = (1 / 4 + 2 / 5) / 2
    np.testing.assert_allclose(evaluate.average_precision(RANKED, QUERIES), [first, second])


def test_all_relevant_pictures_are_in_the_denominator():
    ranked = np.array([["a"] + ["b"] * 90 + ["a"] * 9])
    found_late = 1 + sum((i + 2) / (92 + i) for i in range(9))
    assert evaluate.average_precision(ranked, np.array(["a"]))[0] == pytest.approx(found_late / 10)


def test_average_precision_agrees_with_scikit_learn():
    rng = np.random.default_rng(2)
    ranked = rng.choice(list("abcde"), size=(50, 80))
    queries = rng.choice(list("abcde"), size=50)
    theirs = [average_precision_score(r == q, -np.arange(80)) for r, q in zip(ranked, queries, strict=True)]
    np.testing.assert_allclose(evaluate.average_precision(ranked, queries), theirs, rtol=1e-12)


def test_a_query_that_cannot_be_answered_has_no_average_precision():
    values = evaluate.average_precision(RANKED, np.array(["a", "z"]))
    assert np.isfinite(values[0]) and np.isnan(values[1])
    assert evaluate.precision_at_k(RANKED, np.array(["a", "z"]), 5).tolist() == [0.6, 0]


def test_recall_of_an_approximate_search():
    exact, found = [[1, 2, 3, 4], [5, 6, 7, 8]], [[3, 1, 9, 2], [5, 6, -1, -1]]
    assert evaluate.recall_at_k(found, exact, 3).tolist() == pytest.approx([2 / 3, 2 / 3])
    assert evaluate.recall_at_k(found, exact, 4).tolist() == [0.75, 0.5]
    with pytest.raises(ValueError, match="needs 5"):
        evaluate.recall_at_k(found, exact, 5)
    with pytest.raises(ValueError, match=r"\(2, 4\).*\(1, 4\)"):
        evaluate.recall_at_k(found, exact[:1], 3)


@pytest.mark.parametrize("measure", [evaluate.precision_at_k, evaluate.hit_at_k])
def test_bad_arguments(measure):
    with pytest.raises(ValueError, match="at least 1, not 0"):
        measure(RANKED, QUERIES, 0)
    with pytest.raises(ValueError, match=r"\(2, 5\).*\(3,\)"):
        measure(RANKED, np.array(["a"] * 3), 1)


def test_the_interval_of_a_share_is_wilsons():
    for hits, n in ((0, 18), (18, 18), (1, 3), (41, 120), (1, 1)):
        expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
        assert evaluate.interval([1] * hits + [0] * (n - hits)) == pytest.approx(
            (expected.low, expected.high), abs=1e-6
        )
    low, high = evaluate.interval([0] * 18)
    assert low == 0 and high == pytest.approx(0.176, abs=0.001)
    assert evaluate.interval([0, 0.2, 1]) != evaluate.interval([0, 0, 1])


def test_a_gain_is_that_of_the_differences():
    ours, theirs = np.array([0.9, 0.5, 0.4, 0.3, np.nan]), np.array([0.1, 0.5, 0.2, 0.4, 1])
    gain = evaluate.gain(ours, theirs)
    assert gain.mean == pytest.approx(0.225) and (gain.wins, gain.losses) == (2, 1)
    assert gain.low <= gain.mean <= gain.high and gain.p == 1.0
    assert str(gain).startswith("+0.225 [") and str(gain).endswith("], better for 2 queries, worse for 1")
    back = evaluate.gain(theirs, ours)
    assert back.mean == -gain.mean and (back.wins, back.losses) == (1, 2)
    assert evaluate.gain([0.5], [0.5])[:5] == (0, 0, 0, 0, 0)


def test_a_small_gain_that_all_share_is_sure_though_the_means_overlap():
    theirs = np.random.default_rng(1).uniform(size=60)
    ours = theirs + np.random.default_rng(2).uniform(0.01, 0.03, size=60)
    gain = evaluate.gain(ours, theirs)
    assert evaluate.interval(ours)[0] < evaluate.interval(theirs)[1]
    assert gain.low > 0 and gain.wins == 60
    resampled = stats.bootstrap((ours - theirs,), np.mean, method="percentile", random_state=0)
    assert (gain.low, gain.high) == pytest.approx(tuple(resampled.confidence_interval), abs=5e-4)


@pytest.mark.parametrize("wins, losses", [(24, 2), (21, 4), (3, 3), (0, 5), (1, 0), (0, 0), (60, 40)])
def test_the_sign_test_is_that_of_scipy(wins, losses):
    gain = evaluate.gain([1] * wins + [0] * losses + [0.5], [0] * wins + [1] * losses + [0.5])
    n = wins + losses
    assert gain.p == pytest.approx(stats.binomtest(wins, n).pvalue if n else 1)


def test_without_queries_there_is_no_gain():
    for gain in (evaluate.gain([], []), evaluate.gain([np.nan, 1], [0, np.nan])):
        assert np.isnan(gain[:3]).all() and gain[3:] == (0, 0, 1)


@pytest.mark.parametrize("ours, theirs", [([1, 2], [1]), ([[1]], [[1]]), ([1], [[1]]), (1, 1)])
def test_a_gain_of_different_queries_is_refused(ours, theirs):
    with pytest.raises(ValueError, match="ours has shape .* and theirs .*: expected"):
        evaluate.gain(ours, theirs)


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        low, high = evaluate.interval(rng.normal(0.5, 0.2, size=60))
        covered += low <= 0.5 <= high
    assert 0.90 <= covered / 200 <= 0.99
    assert evaluate.interval([0.4, 0.4]) == pytest.approx((0.4, 0.4))
    assert np.isnan(evaluate.interval([])).all()


GALLERY_LABELS = np.array(["a", "a", "b", "b"])


def test_scoreboard_rows_are_the_means_of_the_measures():
    rankings = {"perfect": [[0, 1, 2, 3], [2, 3, 0, 1]], "reversed": [[3, 2, 1, 0], [1, 0, 3, 2]]}
    board = evaluate.scoreboard(rankings, GALLERY_LABELS, np.array(["a", "b"]), {"perfect": 0.5})
    assert board.index.tolist() == ["perfect", "reversed"]
    assert board.loc["perfect", ["P@1", "P@5", "hit@5", "mAP", "mAP macro", "ms"]].tolist() == [
        1,
        0.4,
        1,
        1,
        1,
        250,
    ]
    assert board.loc["reversed", "mAP"] == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert np.isnan(board.loc["reversed", "ms"])
    assert (board["mAP low"] <= board["mAP"]).all() and (board["mAP"] <= board["mAP high"]).all()


def test_scoreboard_macro_weighs_classes_not_queries():
    ranking = [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]
    board = evaluate.scoreboard({"x": ranking}, GALLERY_LABELS, np.array(["a", "a", "b"]))
    right, wrong = 1, (1 / 3 + 2 / 4) / 2
    assert board.loc["x", "mAP"] == pytest.approx((2 * right + wrong) / 3)
    assert board.loc["x", "mAP macro"] == pytest.approx((right + wrong) / 2)


def test_scoreboard_leaves_out_what_cannot_be_answered_and_says_so(capsys):
    ranking = [[0, 1, 2, 3], [0, 1, 2, 3]]
    board = evaluate.scoreboard({"x": ranking}, GALLERY_LABELS, np.array(["a", "zebra"]))
    assert board.loc["x", "P@1"] == 1
    assert "1 of 2 queries are left out" in capsys.readouterr().out
    assert evaluate.scoreboard({"x": ranking}, GALLERY_LABELS, np.array(["y", "z"])).empty
    assert "nothing can be scored" in capsys.readouterr().out


def test_pictures_without_a_class_are_neither_right_nor_wrong():
    ranked = np.array([["", "a", ""], ["", "", "a"]])
    for measure in (evaluate.precision_at_k, evaluate.hit_at_k):
        values = measure(ranked, np.array(["", "a"]), 2)
        assert np.isnan(values[0]) and values[1] == 0
    values = evaluate.average_precision(ranked, np.array(["", "a"]))
    assert np.isnan(values[0]) and values[1] == pytest.approx(1 / 3)


def test_scoreboard_leaves_out_queries_without_a_class(capsys):
    labels = np.array(["a", "", "a", "", "a", "a", "a"])
    rankings = {"x": [[0, 2, 4, 5, 6, 1, 3], [1, 3, 0, 2, 4, 5, 6]]}
    board = evaluate.scoreboard(rankings, labels, np.array(["a", ""]))
    assert board.loc["x", ["P@1", "P@5", "hit@5", "mAP", "mAP macro"]].tolist() == [1] * 5
    assert capsys.readouterr().out == "1 of 2 queries are left out: they have no class\n"


def test_scoreboard_says_what_scores_can_mean(capsys):
    labels = np.array(["a"] * 6 + ["b"] * 2)
    rankings = {"x": [list(range(8)), [6, 7, 0, 1, 2, 3, 4, 5]]}
    board = evaluate.scoreboard(rankings, labels, np.array(["a", "b"]))
    assert board.loc["x", "P@5"] == pytest.approx(0.7)
    assert capsys.readouterr().out == "1 of 2 queries have fewer than 5 pictures to find: P@5 can be 0.70 at best\n"
    evaluate.scoreboard({"x": [range(6)]}, labels[:6], np.array(["a"]))
    assert "one class only" in capsys.readouterr().out
    evaluate.scoreboard({"x": [range(10)]}, np.array(["a"] * 5 + ["b"] * 5), np.array(["a"]))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("gallery, queries, said", [
    (["a", "b"], ["b"], ""), (["", "b"], ["b", ""], ""),
    (["", ""], [""], "no classes"), (["a", "b"], [""], "no classes"), (["", ""], ["a"], "no classes"),
    (["a", ""], ["b", ""], "No query has a class that the gallery has"),
])  # fmt: skip
def test_can_score(gallery, queries, said, capsys):
    assert evaluate.can_score(gallery, queries) == (not said)
    assert said in capsys.readouterr().out


def test_scoreboard_of_one_class_is_perfect_and_of_none_is_empty(capsys):
    board = evaluate.scoreboard({"x": [[1, 0]]}, np.array(["a", "a"]), np.array(["a"]))
    assert board.loc["x", "mAP"] == 1
    board = evaluate.scoreboard({"x": [[1, 0]]}, np.array(["", ""]), np.array([""]))
    assert board.empty and "no classes" in capsys.readouterr().out


def test_scoreboard_names_a_ranking_that_is_not_whole():
    with pytest.raises(ValueError, match=r"'x' has shape \(1, 2\), expected \(1, 4\)"):
        evaluate.scoreboard({"x": [[1, 0]]}, GALLERY_LABELS, np.array(["a"]))
