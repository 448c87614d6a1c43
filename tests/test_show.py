import base64
import io
import re
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from PIL import Image

from helpers import evaluate, images, show
from helpers.backroom import fonts


@pytest.fixture
def gallery(tmp_path):
    for label, colour in (("apple", "red"), ("sky", "blue")):
        (tmp_path / label).mkdir()
        for i in range(2):
            Image.new("RGB", (30, 20), colour).save(tmp_path / label / f"{i}.png")
    return images.load_gallery(tmp_path)


@pytest.fixture(autouse=True)
def a_kernel_to_display_in():
    InteractiveShell.instance()
    yield
    InteractiveShell.clear_instance()


def shown(draw):
    """Call `draw` and return the HTML and the plain text of what it displayed."""
    with capture_output() as captured:
        draw()
    assert plt.get_fignums() == [], "the figure was left open"
    data = [output.data for output in captured.outputs]
    return [d.get("text/html", "") for d in data], [d["text/plain"] for d in data]


def test_a_figure_carries_its_description_twice():
    fig, ax = plt.subplots()
    ax.plot([1, 2])
    html, plain = shown(lambda: show.figure(fig, 'a "rising" line & <more>'))
    assert 'alt="a &quot;rising&quot; line &amp; &lt;more&gt;"' in html[0]
    assert "data:image/png;base64," in html[0]
    assert plain == ['Figure: a "rising" line & <more>']


def test_photographs_become_jpeg(gallery):
    html, _ = shown(lambda: show.grid(gallery.paths, ["a", "b", "c", "d"], alt="four"))
    assert "data:image/jpeg;base64," in html[0]


def test_results_tell_right_and_wrong_in_words(gallery):
    draw = lambda: show.results([gallery.paths[0]], ["apple"], gallery, np.array([[1, 2]]))  # noqa: E731
    html, plain = shown(draw)
    assert plain == ["Figure: query apple: found apple (right), sky (wrong)."]
    assert re.search(r'alt="query apple: found apple \(right\), sky \(wrong\)\."', html[0])


def test_results_without_classes_claim_nothing(gallery):
    _, plain = shown(lambda: show.results([gallery.paths[0]], [""], gallery, np.array([[1]]), [[0.5]]))
    assert plain == ["Figure: query: found 1.png."]


def test_scoreboard_shows_the_numbers_in_words(capsys):
    board = evaluate.scoreboard({"mine": [[1, 0]]}, np.array(["a", "b"]), np.array(["b"]), {"mine": 0.002})
    with capture_output() as captured:
        show.scoreboard(board)
    (output,) = captured.outputs
    said = "mine: P@1 1.00 [0.21, 1.00], P@5 0.20 [0.20, 0.20], hit@5 1.00 [0.21, 1.00], mAP 1.00 [0.21, 1.00]."
    assert output.data["text/plain"] == f"Figure: Dots with 95 % intervals. {said}"
    assert captured.stdout == "per query: mine 2.00 ms\n"


def test_gains_are_told_in_words_and_those_of_nothing_are_not_drawn():
    gain = evaluate.gain([1, 1, 0, 0.5], [0, 0.5, 0.5, 0.5])
    none = evaluate.gain([np.nan], [0.5])
    _, plain = shown(lambda: show.gains({"mine over yours": gain, "mine over theirs": none}, "P@5"))
    assert plain == [f"Figure: Gains in P@5. mine over yours: {gain}"]
    assert shown(lambda: show.gains({"mine over theirs": none})) == ([], [])


def test_dots_show_both_ends_of_many_names():
    values = {f"class_{i}": i / 10 for i in range(9)} | {"unknown": np.nan}
    _, plain = shown(lambda: show.dots(values, label="P@5", marked=["class_8"], marked_as="one design", ends=2))
    assert plain == ["Figure: Dots, P@5: class 8 0.8, class 7 0.7, 5 more, class 1 0.1, class 0 0"]
    _, plain = shown(lambda: show.dots(pd.Series({"a": 12, "b": 1234}), label="pictures"))
    assert plain == ["Figure: Dots, pictures: b 1234, a 12"]
    assert shown(lambda: show.dots({"a": np.nan}, label="P@5")) == shown(lambda: show.dots({}, label="P@5")) == ([], [])


def test_a_table_tells_its_numbers(gallery):
    table = pd.DataFrame([[0.25, 1], [0.5, 0]], index=["a cat", "a dog"], columns=["one", "two"])
    for pictures, best in ((), ""), (gallery.paths[:2], "columns"), (gallery.paths[:2], "rows"):
        html, plain = shown(
            lambda p=pictures, b=best: show.table(table, alt="Shares", pictures=p, best=b, percent=True)
        )
        assert plain == ["Figure: Shares. a cat: one 25%, two 100%; a dog: one 50%, two 0%"]
        assert ("image/jpeg" if len(pictures) else "image/png") in html[0]
    with pytest.raises(KeyError):
        show.table(table, alt="Shares", best="diagonal")


def test_channels_tell_what_amounts_they_hold():
    patch = np.zeros((2, 3, 3), dtype=np.uint8)
    patch[0, 0] = [255, 7, 9]
    _, plain = shown(lambda: show.channels(patch))
    assert plain == [
        "Figure: 3 × 2 pixels enlarged, and their layers with the amounts written in: "
        "red 0 to 255, green 0 to 7, blue 0 to 9"
    ]


def test_lines_and_maps_are_drawn_with_their_description(gallery):
    curves = {"exact": ([1000, 10_000], [0.1, 1.0]), "index": ([1000, 10_000], [0.5, 0.6])}
    for log in ("", "x", "y", "xy"):
        draw = lambda log=log: show.lines(curves, xlabel="vectors", ylabel="ms", alt="cross", log=log)  # noqa: E731
        assert shown(draw)[1] == ["Figure: cross"]
    show_labels = lambda: show.lines(curves, xlabel="x", ylabel="y", alt="c", labels={"index": ["1.0", "0.9"]})  # noqa: E731
    assert shown(show_labels)[1] == ["Figure: c"]
    points = np.arange(8.0).reshape(4, 2)
    for regions in (None, {"red things": ["apple"], "none": ["pear"]}):
        html, plain = shown(lambda r=regions: show.scatter(points, gallery, alt="a map", regions=r))
        assert plain == ["Figure: a map"] and "image/jpeg" in html[0]
    assert shown(lambda: show.scatter(np.zeros((4, 2)), gallery, alt="one place"))[1] == ["Figure: one place"]


def test_one_query_of_several_methods_is_drawn_once(gallery):
    query, found = gallery.paths[0], np.array([[1, 2], [3, 1]])
    draw = lambda queries: show.results(queries, ["apple"] * 2, gallery, found, names=["by l1", "by l2"])  # noqa: E731
    once, twice = (drawn(lambda q=queries: draw(q))[0] for queries in ([query] * 2, [query, gallery.paths[3]]))
    assert once.shape[1] == twice.shape[1] + 100  # a column for the names
    _, plain = shown(lambda: draw([query] * 2))
    assert plain == [
        "Figure: by l1 apple: found apple (right), sky (wrong). by l2 apple: found sky (wrong), apple (right)."
    ]


def test_titles_of_a_row_stand_at_one_height(tmp_path):
    flat, tall = (Image.new("RGB", size, "red") for size in ((80, 20), (20, 80)))
    picture, _ = drawn(lambda: show.grid([flat, tall, flat], ["one", "one", "one"], alt="three", columns=3))
    black = (picture < 100).all(axis=2)
    tops = [np.flatnonzero(part.any(axis=1)).min() for part in np.split(black, 3, axis=1)]
    assert len(set(tops)) == 1
    with_heading, _ = drawn(lambda: show.grid([flat], alt="one", columns=1, heading="found"))
    assert with_heading.shape[0] == drawn(lambda: show.grid([flat], alt="one", columns=1))[0].shape[0] + 30


def test_an_empty_scoreboard_shows_nothing():
    with capture_output() as captured:
        show.scoreboard(evaluate.scoreboard({"x": [[0]]}, np.array([""]), np.array([""])))
    assert captured.outputs == []


def test_a_walk_is_drawn_with_its_description():
    points = np.random.default_rng(0).uniform(size=(20, 2))
    drawing = {"links": [[1, 2]] * 20, "looked_at": {0, 1, 2}, "path": [0, 1, 2], "title": "a walk"}
    for parts in ({}, {"path": [3]}, drawing):
        pages, texts = shown(lambda parts=parts: show.walk(points, points[0], alt="a walk in the plane", **parts))
        assert texts == ["Figure: a walk in the plane"]
        assert 'alt="a walk in the plane"' in pages[0] and "image/png" in pages[0]
    upper = {"upper": {0: [5], 5: [0]}, "upper_looked_at": {0, 5}, "upper_path": [5, 0]}
    for parts in (upper, {"upper": {}}):
        layers = lambda parts=parts: show.layers(points, points[0], alt="two layers", **drawing, **parts)  # noqa: E731
        assert shown(layers)[1] == ["Figure: two layers"]


def test_results_that_are_none_are_said_to_be(gallery, capsys):
    show.results([], [], gallery, np.empty((0, 5), dtype=int))
    show.results([gallery.paths[0]], ["apple"], gallery, np.empty((1, 0), dtype=int))
    assert capsys.readouterr().out == "There is no such query.\nThere is no such picture.\n"


# -------------------------------------------------------------------------------------------------------------- names


def drawn(draw):
    """Return the picture that `draw` puts into the notebook, and what it prints; a warning is an error."""
    with capture_output() as captured, warnings.catch_warnings():
        warnings.simplefilter("error")
        draw()
    data = re.search('base64,([^"]*)"', captured.outputs[0].data["text/html"])[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")), captured.stdout


def saved(fig):
    """Return the same picture as Matplotlib alone makes it."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    plt.close(fig)
    return np.asarray(Image.open(buffer).convert("RGB"))


def named(name, **how):
    """Draw a figure with a name in every place that holds words."""
    fig, (left, right) = plt.subplots(1, 2)
    left.set_title(name, **how)
    left.set_xlabel(name, **how)
    left.set_xticks([0, 1], [name, "b"], **how)
    right.set_yticks([0, 1], [name, "b"], **how)
    left.text(0.5, 0.5, name, **how)
    for text in right.legend(right.plot([0, 1]), [name]).get_texts():
        text.set(**how)
    return fig


@pytest.mark.parametrize("name", ["$$", "$\\foo$", "$5-$10", "$a_b$", "5 $", "{\\bf x}_^", "\\alpha", "%", "#"])
def test_names_are_drawn_as_they_stand_and_not_as_formulas(name):
    np.testing.assert_array_equal(drawn(lambda: show.figure(named(name), ""))[0], saved(named(name, parse_math=False)))


def test_the_names_of_bars_are_drawn_as_they_stand_too():
    def bars(names):
        fig, ax = plt.subplots()
        ax.bar(names, [1, 2])
        ax.tick_params(axis="x", rotation=90)
        return fig

    with_dollars, _ = drawn(lambda: show.figure(bars(["$5-$10", "b"]), ""))
    fig, ax = plt.subplots()
    ax.bar([0, 1], [1, 2])
    ax.set_xticks([0, 1], ["$5-$10", "b"], rotation=90, parse_math=False)
    np.testing.assert_array_equal(with_dollars, saved(fig))


def test_the_numbers_of_an_axis_stay_what_they_are():
    def logarithms():
        fig, ax = plt.subplots()
        ax.plot([1, 10, 1000], [0.1, 5, 90000])
        ax.set(xscale="log", yscale="log", xlabel="vectors")
        return fig

    np.testing.assert_array_equal(drawn(lambda: show.figure(logarithms(), ""))[0], saved(logarithms()))


@pytest.mark.parametrize("name, instead", [
    ("犬", "?"), ("แมว 1", "??? 1"), ("\U0001f469\u200d\U0001f680", "??"), ("tab\tbed\x07", "tab bed "),
    ("caf\udce9", "caf?"), ("a\u200db", "ab"),
])  # fmt: skip
def test_signs_that_no_font_has_are_replaced_and_named(name, instead, monkeypatch):
    monkeypatch.setattr(fonts, "FONTS", ())
    picture, said = drawn(lambda: show.figure(named(name), ""))
    np.testing.assert_array_equal(picture, saved(named(instead)))
    assert said.count("no font here has them") == ("?" in instead)
    assert "?" not in instead or all(sign in said for sign in name[:1] + name[-1:] if sign not in "c1\udce9")


def test_the_description_keeps_the_true_name():
    _, plain = shown(lambda: show.figure(named("犬 $5"), "犬 $5, caf\udce9"))
    assert plain == [r"Figure: 犬 $5, caf\udce9"]


def test_a_font_that_has_a_sign_is_used_where_it_is_installed(monkeypatch):
    name = "x\N{LATIN SMALL LETTER K WITH PALATAL HOOK}"  # Matplotlib brings along a font that has it, and is not used
    monkeypatch.setattr(fonts, "FONTS", ("no such font", "STIXGeneral"))
    with plt.rc_context({"font.family": ["DejaVu Sans", "STIXGeneral"]}):
        expected = saved(named(name))
    picture, said = drawn(lambda: show.figure(named(name), ""))
    np.testing.assert_array_equal(picture, expected)
    assert said == ""


def test_ticks_may_be_named_by_numbers(monkeypatch):
    monkeypatch.setattr(fonts, "FONTS", ())
    fig, ax = plt.subplots()
    ax.set_xticks([0, 1], [5, 50])
    expected = saved(fig)
    np.testing.assert_array_equal(drawn(lambda: show.figure(fig, "two numbers"))[0], expected)


@pytest.mark.parametrize(
    "name", ["n" * 250, "犬" * 80, "new\nline\n" * 20, "so many words " * 18, " ", "$" * 99], ids=range(6)
)
def test_long_names_leave_room_for_the_pictures(tmp_path, name, monkeypatch):
    monkeypatch.setattr(fonts, "FONTS", ())
    for i in range(2):
        Image.new("RGB", (30, 20), "red").save(tmp_path / f"{i}.png")
    gallery = images.load_gallery(tmp_path)
    gallery = images.Gallery(gallery.root, gallery.paths, np.array([name, name]), [])
    picture, _ = drawn(lambda: show.results(gallery.paths[:1], gallery.labels[:1], gallery, np.array([[1]])))
    assert picture.shape[0] < 300 and (abs(picture.astype(int) - [254, 0, 0]) < 9).all(axis=2).mean() > 0.1
    assert drawn(lambda: show.grid(gallery.paths, [name, name], alt="two"))[0].shape[0] < 300
    fig, ax = plt.subplots(figsize=(9, 2.6))
    ax.bar(["a", name], [1, 2])
    ax.tick_params(axis="x", rotation=90, labelsize=7)
    drawn(lambda: show.figure(fig, "bars"))
