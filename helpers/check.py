"""Tell a reader whether an exercise is solved and, where the mistake is a known one, which it is."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def close(yours: Any, expected: Any, mistakes: Mapping[str, Any] | None = None, tolerance: float = 1e-6) -> None:
    """Print whether `yours` equals `expected`, or what seems to be wrong with it.

    Nothing is raised: the notebook goes on, solved or not.

    Parameters
    ----------
    yours : anything that NumPy makes an array of
        What the reader's code returned; ``None`` or ``...`` counts as not started.
    expected : array_like
        The right answer.
    mistakes : mapping of str to array_like, optional
        What to say, and the value that this mistake leads to.
    tolerance : float
        The largest difference allowed, relative to the largest expected value.
    """
    if yours is None or yours is ...:
        print("Not solved yet: replace the … with your own code, run the cell, then run this one again.")
        return
    try:
        values, right = np.asarray(yours, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    except (TypeError, ValueError):
        print(f"Not yet: expected numbers, and got {type(yours).__name__}.")
        return
    if values.shape != right.shape:
        print(f"Not yet: the shape should be {right.shape}, and yours is {values.shape}.")
        return
    if _equal(values, right, tolerance):
        difference = float(np.abs(values - right).max(initial=0))
        print(f"✓ Correct: the largest difference is {'below 1e-6' if difference < 1e-6 else f'{difference:.0e}'}.")
        return
    for advice, wrong in (mistakes or {}).items():
        wrong = np.asarray(np.nan if wrong is None else wrong, dtype=np.float64)
        if wrong.shape == right.shape and _equal(values, wrong, tolerance):
            print(f"Not yet: {advice}")
            return
    worst = np.unravel_index(np.nanargmax(np.abs(values - right)), right.shape) if np.isfinite(values).any() else ()
    place = f" at {tuple(int(i) for i in worst)}" if worst else ""
    print(f"Not yet: expected {right[worst]:.6g}{place}, and got {values[worst]:.6g}.")


def _equal(values: np.ndarray, right: np.ndarray, tolerance: float) -> bool:
    scale = max(1.0, float(np.abs(right).max(initial=0)))
    return bool(np.allclose(values, right, rtol=0, atol=tolerance * scale, equal_nan=True))
