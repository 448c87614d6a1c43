"""Tell a reader whether an exercise is solved and, where the mistake is a known one, which it is."""

import contextlib
import copy
import dis
import inspect
import io
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

TOLERANCE = 1e-4
"""The largest difference allowed, as a share of the largest expected value: float32 passes, float16 does not."""


def agrees(
    name: str,
    names: Mapping[str, Any],
    reference: Callable[..., Any],
    inputs: Sequence[tuple],
    mistakes: Mapping[str, Callable[..., Any]],
    *,
    without_loop: bool = False,
) -> bool:
    """Print whether the reader's function does what `reference` does, or what seems to be wrong with it.

    The function gets copies of arrays and lists. What it prints is shown first. Whatever it raises or returns, nothing
    is raised here, so that the notebook goes on, solved or not. (Stopping the kernel still stops it.)

    Parameters
    ----------
    name : str
        The reader's function, by its name in the notebook.
    names : mapping of str to any
        The variables of the notebook, where the function is looked up. It need not be there.
    reference : callable
        Returns the right answer, a number or an array, for the same arguments.
    inputs : sequence of tuples
        The arguments of each call: two at least, on which usual slips lead to different answers.
    mistakes : mapping of str to callable
        What to say, and a function that makes this mistake: it is said if all answers are those of this function.
    without_loop : bool
        Also ask that the steps of Python do not grow with the rows and columns of the last argument.

    Returns
    -------
    bool
        Whether all answers are right.
    """
    with contextlib.redirect_stdout(_Shown()) as shown:
        said = _judge(name, names, reference, inputs, mistakes, without_loop)
    print("" if shown.end == "\n" else "\n", said, sep="")
    return said.startswith("✓")


class _Shown(io.TextIOBase):
    """Standard output as it was, and how it ended."""

    def __init__(self) -> None:
        self.output, self.end = sys.stdout, "\n"

    def write(self, text: str) -> int:
        self.end = text[-1:] or self.end
        return self.output.write(text)


def _judge(
    name: str, names: Mapping, reference: Callable, inputs: Sequence[tuple], mistakes: Mapping, without_loop: bool
) -> str:
    function = names.get(name)
    if not callable(function):
        return f"Not yet: there is no function {name}. Does the cell define one of this name?"
    answers = []
    for arguments in inputs:
        call = f"{name}({', '.join(map(_told, arguments))})"
        given = _copies(arguments)
        try:
            answer = function(*given)
            kept = all(_is_same(a, b) for a, b in zip(arguments, given, strict=True) if _is_copied(a))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            lines = [frame.line for frame in traceback.extract_tb(error.__traceback__, limit=2)[1:] if frame.line]
            where = f" (in the line: {lines[0]})" if lines else ""
            return f"Not yet: {call} stopped with {_in_words(error)}{where}.{_outside(function, names)}"
        if answer is ...:
            return "Not solved yet: replace the … with your own code, and run the cell again."
        if answer is None:
            return f"Not solved yet: {name} returns nothing. Is a return missing?"
        if not kept:
            return f"Not yet: {name} changes what it is given, so that later cells would go on with something else."
        answers.append((arguments, call, _numbers(answer), np.asarray(reference(*arguments))))

    wrong = [answer for answer in answers if _problem(*answer[2:])]
    with np.errstate(all="ignore"):  # a mistake may well divide by zero
        for advice, mistake in mistakes.items():
            if wrong and all(_equal(yours, mistake(*arguments)) for arguments, _, yours, _ in answers):
                return f"Not yet: {advice}"
    if wrong:
        _, call, yours, right = wrong[0]
        same = len(answers) > 1 and all(np.array_equal(answers[0][2], answer[2]) for answer in answers)
        hint = " It is the same for all inputs: does your function use its arguments?" if same else ""
        return f"Not yet: {call} {_problem(yours, right)}{_outside(function, names) or hint}"
    if without_loop:
        try:
            steps = [(sum(np.shape(arguments[-1])), _steps(function, arguments)) for arguments in inputs]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return f"Not yet: called once more, {name} stopped with {_in_words(error)}."
        least = min(steps)
        if any(more - least[1] >= length - least[0] > 0 for length, more in steps):
            return "Not yet: the values are right, and there is a loop. Let NumPy take all rows at once."
    also = ", and without a loop" if without_loop else ""
    return f"✓ Correct for the {len(inputs)} inputs tried here{also}. Other inputs were not tried, nor how fast it is."


def _is_copied(argument: Any) -> bool:
    return isinstance(argument, np.ndarray | list)


def _copies(arguments: tuple) -> list:
    return [copy.deepcopy(argument) if _is_copied(argument) else argument for argument in arguments]


def _is_same(before: np.ndarray | list, after: np.ndarray | list) -> bool:
    return before == after if isinstance(before, list) else np.array_equal(before, after)


def _told(argument: Any) -> str:
    """Write an argument as briefly as it can be told from others."""
    if isinstance(argument, np.ndarray):
        rounded = argument.round(3) if argument.dtype.kind == "f" else argument
        return str(rounded.tolist()) if argument.size <= 12 else f"array of shape {argument.shape}"
    return repr(argument) if isinstance(argument, str | int | float | list) else type(argument).__name__


def _in_words(error: BaseException) -> str:
    said = traceback.format_exception_only(error)[-1].strip().partition("\n")[0]
    return said[:200].encode("utf-8", "replace").decode()


def _numbers(answer: Any) -> np.ndarray | str:
    """Return the answer as an array of numbers, or say what it is instead."""
    others = {"b": "True and False", "U": "text", "S": "text", "c": "complex numbers", "M": "dates", "m": "times"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if isinstance(answer, range) and len(answer) > 10**7:
                return "a range of millions"
            array = np.ma.asarray(answer)
            if np.ma.is_masked(array):
                return "partly masked"
            array = np.asarray(array.data)
            if array.dtype.kind == "O":
                odd = [type(value).__name__ for value in array.flat if not isinstance(value, Real)]
                if odd:
                    return f"{type(answer).__name__} that holds {odd[0]}" if array.ndim else odd[0]
                array = array.astype(np.float64)
            return array if array.dtype.kind in "iuf" else others.get(array.dtype.kind, f"of type {array.dtype}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        why = "rows of different lengths?" if isinstance(error, ValueError) else _in_words(error)
        return f"something that NumPy makes no array of ({why})"


def _equal(yours: np.ndarray | str, right: Any) -> bool:
    right = np.asarray(right, dtype=np.float64)
    if isinstance(yours, str) or yours.shape != right.shape:
        return False
    return bool(_close(yours, right).all())


def _close(yours: np.ndarray, right: np.ndarray) -> np.ndarray:
    largest = np.abs(right[np.isfinite(right)]).max(initial=0)
    return np.isclose(yours, right, rtol=0, atol=TOLERANCE * (largest or 1), equal_nan=True)


def _problem(yours: np.ndarray | str, right: np.ndarray) -> str:
    """Say what is wrong with an answer; nothing if it is right."""
    whole = right.dtype.kind in "iu"
    if isinstance(yours, str):
        return f"should be {'rows, which are whole numbers' if whole else 'numbers'}, and is {yours}."
    if yours.shape != right.shape:
        forms = [f"of shape {form}" if form else "one number" for form in (right.shape, yours.shape)]
        return f"should be {forms[0]}, and is {forms[1]}."
    if whole and yours.dtype.kind == "f" and right.size:
        return f"should be rows, which are whole numbers, and is {yours.dtype}: nothing can be looked up with that."
    if _equal(yours, right):
        return ""
    first = np.unravel_index(np.argmin(_close(yours, right)), right.shape)
    place = f" at {tuple(map(int, first))}" if first else ""
    return f"should be {right[first]:.6g}{place}, and is {yours[first]:.6g}."


def _outside(function: Callable, names: Mapping) -> str:
    """Name the arrays that a wrong function takes from elsewhere than its arguments."""
    steps = dis.get_instructions(function) if inspect.isfunction(function) else ()
    arrays = {s.argval for s in steps if s.opname == "LOAD_GLOBAL" and isinstance(names.get(s.argval), np.ndarray)}
    return f" It uses {' and '.join(sorted(arrays))} from outside: use the arguments." if arrays else ""


class _Rows(np.ndarray):
    """A matrix that hands out its rows by a step of Python for each, where `_steps` sees it."""

    def __iter__(self) -> Iterator:
        rows = self.view(np.ndarray)
        return (row for row in rows) if self.ndim > 1 else iter(rows)


def _steps(function: Callable, arguments: tuple) -> int:
    """Return how many steps of Python the call takes, those in libraries included. It prints nothing."""
    steps = 0

    def count(frame: Any, event: str, argument: Any) -> Callable:
        nonlocal steps
        steps += 1
        frame.f_trace_opcodes = True
        return count

    before = sys.gettrace()
    for _ in range(2):  # what a first call loads does not count, and Python 3.12 sees too little of it
        steps, given = 0, [a.view(_Rows) if isinstance(a, np.ndarray) else a for a in _copies(arguments)]
        with contextlib.redirect_stdout(io.StringIO()), np.printoptions(threshold=0, edgeitems=1):  # brief in any size
            sys.settrace(count)
            try:
                function(*given)
            finally:
                sys.settrace(before)
    return steps
