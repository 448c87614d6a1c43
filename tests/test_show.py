import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from PIL import Image

from helpers import evaluate, images, show


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


def test_scoreboard_shows_the_numbers_in_words():
    board = evaluate.scoreboard({"mine": [[1, 0]]}, np.array(["a", "b"]), np.array(["b"]), {"mine": 0.002})
    html, plain = shown(lambda: show.scoreboard(board))
    assert "1.00 [1.00, 1.00]" in html[0] and "2.00 ms" in html[0]
    assert "mine: P@1 1.00, P@5 0.20, hit@5 1.00, mAP 1.00" in plain[1]


def test_an_empty_scoreboard_shows_nothing():
    with capture_output() as captured:
        show.scoreboard(evaluate.scoreboard({"x": [[0]]}, np.array([""]), np.array([""])))
    assert captured.outputs == []


def test_a_walk_is_drawn_with_its_description():
    points = np.random.default_rng(0).uniform(size=(20, 2))
    drawing = {"links": [[1, 2]] * 20, "layer": [0, 5], "looked_at": {0, 1, 2}, "path": [0, 1, 2]}
    for parts in ({}, {"path": [3]}, drawing):
        pages, texts = shown(lambda parts=parts: show.walk(points, points[0], alt="a walk in the plane", **parts))
        assert texts == ["Figure: a walk in the plane"]
        assert 'alt="a walk in the plane"' in pages[0] and "image/png" in pages[0]


def test_results_that_are_none_are_said_to_be(gallery, capsys):
    show.results([], [], gallery, np.empty((0, 5), dtype=int))
    show.results([gallery.paths[0]], ["apple"], gallery, np.empty((1, 0), dtype=int))
    assert capsys.readouterr().out == "There is no such query.\nThere is no such picture.\n"
