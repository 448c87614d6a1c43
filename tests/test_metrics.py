import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from helpers import metrics

SCIPY = {
    "l1": lambda q, g: cdist(q, g, "cityblock"),
    "l2": lambda q, g: cdist(q, g, "euclidean"),
    "cosine": lambda q, g: 1 - cdist(q, g, "cosine"),
    "correlation": lambda q, g: 1 - cdist(q, g, "correlation"),
}


@pytest.fixture(autouse=True)
def no_warning_is_allowed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("name", metrics.METRICS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.uint8, np.int64])
def test_agrees_with_scipy(name, dtype):
    rng = np.random.default_rng(3)
    queries = (rng.random((7, 300)) * 250).astype(dtype)
    gallery = (rng.random((23, 300)) * 250).astype(dtype)
    ours = metrics.METRICS[name][0](queries, gallery)
    assert ours.shape == (7, 23) and ours.dtype == np.float32
    theirs = SCIPY[name](queries.astype(np.float64), gallery.astype(np.float64))
    np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", metrics.METRICS)
def test_agrees_with_scipy_on_pictures_and_over_many_blocks(name, monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK_BYTES", 500_000)
    rng = np.random.default_rng(4)
    queries, gallery = (rng.random((n, 64 * 64 * 3), dtype=np.float32) for n in (3, 50))
    theirs = SCIPY[name](queries, gallery)
    np.testing.assert_allclose(metrics.METRICS[name][0](queries, gallery), theirs, rtol=1e-5, atol=1e-6)


def test_what_a_lesson_about_pixels_imports_is_soon_there():
    """PyTorch and Chroma take seconds to import; L1 needs PyTorch when it is computed."""
    program = (
        "import sys\nfrom helpers import evaluate, images, metrics, show\n"
        "print([name for name in ('torch', 'open_clip', 'chromadb', 'ipywidgets', 'scipy') if name in sys.modules])\n"
        "print(metrics.l2([[0, 3]], [[4, 0]]), metrics.correlation([[1, 2]], [[2, 1]]), 'torch' in sys.modules)\n"
        "print(metrics.l1([[0, 3]], [[4, 0]]), 'torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(metrics.__file__).parent.parent)}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["[]", "[[5.]] [[-1.]] False", "[[7.]] True"]


def test_by_hand():
    a, b = np.array([[1, 2, 2]]), np.array([[3, 2, 1]])
    assert metrics.l1(a, b)[0, 0] == 3
    assert metrics.l2(a, b)[0, 0] == pytest.approx(np.sqrt(5))
    assert metrics.cosine(a, b)[0, 0] == pytest.approx(9 / np.sqrt(9 * 14))
    # centred: (-2/3, 1/3, 1/3) and (1, 0, -1): product -1, lengths sqrt(6)/3 and sqrt(2)
    assert metrics.correlation(a, b)[0, 0] == pytest.approx(-1 / (np.sqrt(6) / 3 * np.sqrt(2)))


def test_uint8_does_not_wrap_around():
    dark, light = np.full((1, 5), 3, np.uint8), np.full((1, 5), 255, np.uint8)
    assert metrics.l1(dark, light)[0, 0] == 5 * 252
    assert metrics.l2(dark, light)[0, 0] == pytest.approx(252 * np.sqrt(5))


@pytest.mark.parametrize("constant", [0.0, 0.1, 255.0, -7e8])
def test_a_constant_vector_correlates_with_nothing(constant):
    flat = np.full((2, 12288), constant, np.float32)
    other = np.random.default_rng(0).random((3, 12288), dtype=np.float32)
    assert not metrics.correlation(flat, other).any()
    assert not metrics.correlation(other, flat).any()
    assert not metrics.correlation(flat, flat).any()


def test_one_changed_value_ends_a_constant():
    nearly = np.full((1, 12288), 255, np.uint8)
    nearly[0, 77] = 254
    assert metrics.correlation(nearly, nearly)[0, 0] == 1


def test_a_zero_vector_is_similar_to_nothing():
    zero, other = np.zeros((1, 4)), np.ones((2, 4))
    assert metrics.cosine(zero, other).tolist() == [[0, 0]]
    assert metrics.cosine(other, zero).tolist() == [[0], [0]]
    assert metrics.cosine(zero, zero).tolist() == [[0]]


def test_identical_vectors_are_exactly_at_the_end_of_the_scale():
    rows = np.random.default_rng(0).random((40, 12288), dtype=np.float32)
    assert (np.diag(metrics.l1(rows, rows)) == 0).all()
    assert (np.diag(metrics.l2(rows, rows)) == 0).all()
    assert (np.diag(metrics.cosine(rows, rows)) == 1).all()
    assert (np.diag(metrics.correlation(rows, rows)) == 1).all()


def test_l2_sees_one_grey_level_in_one_pixel():
    a = np.full((1, 12288), 255, np.uint8)
    b = a.copy()
    b[0, 5000] = 254
    far = np.zeros((1, 12288), np.uint8)
    assert metrics.l2(np.vstack([a, far]), b)[0, 0] == pytest.approx(1)


def test_similarities_stay_in_range():
    rows = np.random.default_rng(0).normal(size=(200, 8)) * 1e-30
    for name in ("cosine", "correlation"):
        values = metrics.METRICS[name][0](rows, np.vstack([rows, -rows]))
        assert values.min() == -1 and values.max() == 1


def test_correlation_ignores_brightness_and_contrast_but_cosine_notices_brightness():
    a = np.random.default_rng(0).random((1, 100))
    assert metrics.correlation(a, 2 * a + 3)[0, 0] == pytest.approx(1)
    assert metrics.cosine(a, 2 * a)[0, 0] == pytest.approx(1)
    assert metrics.cosine(a, a + 3)[0, 0] < 0.99


@pytest.mark.parametrize("name", metrics.METRICS)
def test_shapes_that_do_not_fit_are_named(name):
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(5, 4\)"):
        metrics.METRICS[name][0](np.ones((2, 3)), np.ones((5, 4)))
    with pytest.raises(ValueError, match=r"\(3,\).*v\[None, :\]"):
        metrics.METRICS[name][0](np.ones(3), np.ones((5, 3)))
    with pytest.raises(ValueError, match="not numbers"):
        metrics.METRICS[name][0](np.array([["a"]]), np.ones((1, 1)))


@pytest.mark.parametrize("name", metrics.METRICS)
def test_nothing_to_compare_gives_an_empty_matrix(name):
    assert metrics.METRICS[name][0](np.ones((0, 3)), np.ones((5, 3))).shape == (0, 5)
    assert metrics.METRICS[name][0](np.ones((2, 3)), np.ones((0, 3))).shape == (2, 0)


def test_rank_sorts_by_nearness_whichever_way_the_metric_points():
    gallery = np.array([[3.0, 0], [1, 0], [0, 1], [2, 0]])
    query = np.array([[1.0, 0]])
    indices, scores = metrics.rank(query, gallery, "l2", k=3)
    assert indices.tolist() == [[1, 3, 2]] and indices.dtype == np.int64
    np.testing.assert_allclose(scores, [[0, 1, np.sqrt(2)]], rtol=1e-6)
    indices, scores = metrics.rank(query, gallery, "cosine", k=4)
    assert indices.tolist() == [[0, 1, 3, 2]]  # the first three all have similarity 1: gallery order
    np.testing.assert_allclose(scores, [[1, 1, 1, 0]], atol=1e-7)


@pytest.mark.parametrize("name", metrics.METRICS)
def test_copies_of_a_picture_keep_the_order_of_the_gallery(name):
    rng = np.random.default_rng(5)
    picture, others = rng.random((1, 3072), dtype=np.float32), rng.random((300, 3072), dtype=np.float32)
    gallery = others.copy()
    copies = [3, 64, 65, 130, 299]
    gallery[copies] = picture
    query = picture + 0.01 * rng.random((4, 3072), dtype=np.float32)
    indices, scores = metrics.rank(query, gallery, name, k=5)
    assert indices.tolist() == [copies] * 4
    assert (scores == scores[:, :1]).all()


def test_rank_beyond_the_gallery_and_bad_arguments():
    gallery = np.eye(3)
    assert metrics.rank(gallery[:1], gallery, "l1", k=10)[0].shape == (1, 3)
    assert metrics.rank(gallery[:1], gallery, "l1", k=None)[0].shape == (1, 3)
    with pytest.raises(ValueError, match="k is .* not 0"):
        metrics.rank(gallery, gallery, k=0)
    with pytest.raises(ValueError, match=r"'euclid'.*l1, l2, cosine, correlation"):
        metrics.rank(gallery, gallery, "euclid")
