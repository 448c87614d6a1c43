"""What a student's function returns comes to a test as plain data; what a right answer does raises no suspicion."""

import json
import math
import sys
from collections import namedtuple
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import tricks
import wire


def there_and_back(value):
    return wire.unpack(json.loads(json.dumps(wire.pack(value))))


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 10**40, -0.5, 1e-320, "é\n😀", b"\0\xff",
     2 + 3j, [1, [2, ()]], (1, "a"), {"a": 1, 2: (3,)}, {1, 2}, Path("a/b.png"), range(3), np.float32(0.25),
     np.int64(7), np.str_("cat"), np.bool_(True)],
)  # fmt: skip
def test_plain_values_arrive_as_they_were(value):
    arrived = there_and_back(value)
    if isinstance(value, range):
        arrived, value = list(arrived), list(value)
    assert arrived == value and type(arrived) is type(value)


def test_numbers_that_json_lacks():
    assert math.isnan(there_and_back(float("nan"))) and there_and_back([np.inf, -np.inf]) == [np.inf, -np.inf]


@pytest.mark.parametrize(
    "array",
    [np.arange(6).reshape(2, 3), np.float32([[1.5]]), np.empty((0, 3)), np.array(["a", "bc"]), np.array(3.0),
     np.array([True]), np.array(["2026-01-01"], dtype="datetime64[D]"), np.array([1, "a", None], dtype=object)],
    ids=lambda array: f"{array.dtype} {array.shape}",
)  # fmt: skip
def test_arrays_keep_type_and_shape(array):
    arrived = there_and_back(array)
    assert arrived.dtype == array.dtype and arrived.shape == array.shape
    np.testing.assert_array_equal(arrived, array)


def test_tables_and_tensors():
    table = pd.DataFrame({"ef": [10, 20], "recall": [0.5, np.nan], "name": ["a", "b"]}, index=["x", "y"])
    pd.testing.assert_frame_equal(there_and_back(table), table)
    pd.testing.assert_series_equal(there_and_back(table["recall"]), table["recall"])
    assert torch.equal(there_and_back(torch.arange(3)), torch.arange(3))


def test_what_acts_is_not_handed_over():
    class Equal:
        def __eq__(self, other):
            return True

        __hash__ = object.__hash__

    for value in (Equal(), [Equal()], {"a": Equal()}, np.array([Equal()], dtype=object), lambda: 1, wire, Equal):
        with pytest.raises(TypeError, match="cannot be handed over"):
            wire.pack(value)


def test_a_plain_value_that_pretends_is_plain_when_it_arrives():
    class Float(float):
        def __eq__(self, other):
            return True

        __hash__ = float.__hash__

    class Text(str):
        def __eq__(self, other):
            return True

        __hash__ = str.__hash__

    class Array(np.ndarray):
        def __eq__(self, other):
            return np.True_

        __hash__ = None

    Pair = namedtuple("Pair", "a b")
    array = np.arange(3.0).view(Array)
    arrived = there_and_back([Float(2), Text("a"), Pair(1, 2), array])
    assert [type(value) for value in arrived] == [float, str, tuple, np.ndarray]
    assert arrived[0] != 3 and arrived[1] != "b" and not (arrived[3] == 7).any()


@pytest.mark.parametrize("packed", [{"array": "AAAA"}, {"call": "exit"}, {"a": 1, "b": 2}, {"float": "os"}, {"set": 3}])
def test_what_was_not_packed_is_refused(packed):
    with pytest.raises((ValueError, TypeError, KeyError)):
        wire.unpack(packed)


def test_right_answers_raise_no_suspicion():
    sources = sorted((Path(__file__).resolve().parent.parent / "notebooks" / "assignments").glob("*.ipynb"))
    cells = [cell for source in sources for cell in nbformat.read(source, as_version=4).cells]
    answers = [c.source for c in cells if c.cell_type == "code" and c.metadata.get("nbgrader", {}).get("solution")]
    assert len(answers) > 15 and tricks.seen(answers) == []
    assert tricks.seen(["if curve.empty:\n    G[0] = np.empty(3)\n# In[0], os._exit"]) == []
    assert tricks.seen(["import os\nos._exit(0)", "np.allclose = print"]) == [
        "read its code, which replaces what belongs to a library, ends processes, or starts them"
    ]
