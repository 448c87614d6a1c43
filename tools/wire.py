"""Carry what a student's function returns to a test in another process: data, and nothing that acts.

The two processes trust each other unequally. What a test hands over is pickled, as it comes from the teacher. What
comes back is written in JSON, and only plain values, arrays and tables can be written so: no object with methods of
the student's own arrives, whatever it claims to be equal to. `answer` and `look` run in the student's kernel.
"""

import base64
import io
import json
import os
import pickle
import sys
import traceback
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

MIME = "application/vnd.course.answer"
"""The type of the output that holds an answer."""
SAID = 4000
"""Characters kept of an error's message and of its traceback."""


def pack(value: Any) -> Any:
    """Return a value as JSON can hold it.

    Raises
    ------
    TypeError
        It is no plain value, array or table, or holds one that is not.
    """
    if isinstance(value, np.generic):
        return {"scalar": pack(np.asarray(value))}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return {"float": float.__repr__(value)}
    if isinstance(value, complex):
        return {"complex": [pack(value.real), pack(value.imag)]}
    if isinstance(value, list):
        return [pack(part) for part in value]
    if isinstance(value, dict):
        return {"dict": [[pack(key), pack(part)] for key, part in value.items()]}
    for kind, name in ((tuple, "tuple"), (set, "set"), (frozenset, "set")):
        if isinstance(value, kind):
            return {name: [pack(part) for part in value]}
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            return {"objects": [pack(part) for part in value.ravel().tolist()], "shape": list(value.shape)}
        file = io.BytesIO()
        np.save(file, np.asarray(value), allow_pickle=False)
        return {"array": base64.b64encode(file.getvalue()).decode("ascii")}
    if isinstance(value, os.PathLike):
        return {"path": os.fspath(value)}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": base64.b64encode(value).decode("ascii")}
    if type(value).__module__.startswith("torch") and hasattr(value, "detach"):
        return {"tensor": pack(value.detach().cpu().numpy())}
    if type(value).__module__.startswith("pandas"):
        return _pack_table(value)
    if hasattr(value, "__iter__") and type(value).__module__ == "builtins":  # zip, map, range, keys, a generator
        return {"iterator": [pack(part) for part in value]}
    raise TypeError(f"a {type(value).__name__} cannot be handed over to the test")


def _pack_table(value: Any) -> dict[str, Any]:
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        columns = [pack(value.iloc[:, number].to_numpy()) for number in range(value.shape[1])]
        return {"table": columns, "columns": pack(value.columns), "index": pack(value.index)}
    if isinstance(value, pd.Series):
        return {"series": pack(value.to_numpy()), "name": pack(value.name), "index": pack(value.index)}
    if isinstance(value, pd.Index):
        return {"index of": pack(value.to_numpy()), "name": pack(value.name)}
    raise TypeError(f"a {type(value).__name__} cannot be handed over to the test")


def unpack(packed: Any) -> Any:
    """Return the value that was packed; whatever it was made of, only plain values, arrays and tables come out.

    Raises
    ------
    ValueError, TypeError, KeyError
        This was not written by `pack`.
    """
    if isinstance(packed, list):
        return [unpack(part) for part in packed]
    if not isinstance(packed, dict):
        return packed
    if "array" in packed:
        return np.load(io.BytesIO(base64.b64decode(packed["array"])), allow_pickle=False)
    if "objects" in packed:
        objects = np.empty(len(packed["objects"]), dtype=object)
        objects[:] = [unpack(part) for part in packed["objects"]]
        return objects.reshape(packed["shape"])
    if "table" in packed or "series" in packed or "index of" in packed:
        return _unpack_table(packed)
    ((kind, content),) = packed.items()
    if kind == "tensor":
        import torch

        return torch.from_numpy(unpack(content))
    make = {
        "scalar": lambda: unpack(content)[()],
        "float": lambda: float(content),
        "complex": lambda: complex(*unpack(content)),
        "dict": lambda: {unpack(key): unpack(part) for key, part in content},
        "tuple": lambda: tuple(unpack(content)),
        "set": lambda: set(unpack(content)),
        "path": lambda: Path(content),
        "bytes": lambda: base64.b64decode(content),
        "iterator": lambda: iter(unpack(content)),
    }
    return make[kind]()


def _unpack_table(packed: dict[str, Any]) -> Any:
    import pandas as pd

    if "index of" in packed:
        return pd.Index(unpack(packed["index of"]), name=unpack(packed["name"]))
    index = unpack(packed["index"])
    if "series" in packed:
        return pd.Series(unpack(packed["series"]), index=index, name=unpack(packed["name"]))
    table = pd.DataFrame({number: unpack(column) for number, column in enumerate(packed["table"])}, index=index)
    table.columns = unpack(packed["columns"])
    return table


def _publish(answer: dict[str, Any]) -> None:
    from IPython.display import publish_display_data

    publish_display_data({MIME: json.dumps(answer)})


def look(name: str) -> None:
    """Publish the value of a name of the notebook, as `value`, or that there is none."""
    names = sys.modules["__main__"].__dict__
    try:
        _publish({"value": pack(names[name])} if name in names else {"missing": True})
    except Exception as error:
        _publish(_raised(error))


def answer(name: str, file: str) -> None:
    """Call a function of the notebook by the arguments in a file, and publish what it returns or raises.

    What it changes in its arguments is published too, by their number or name, and the peak of its working memory in
    bytes, where the test measures that.
    """
    request = pickle.loads(Path(file).read_bytes())
    arguments, unchanged = (
        {**dict(enumerate(r["args"])), **r["kwargs"]} for r in (request, pickle.loads(request["copy"]))
    )
    said: dict[str, Any] = {}
    try:
        function = sys.modules["__main__"].__dict__[name]
        positional = [arguments[number] for number in range(len(request["args"]))]
        named = {key: arguments[key] for key in request["kwargs"]}
        if request["traced"]:
            tracemalloc.start()
        try:
            with np.errstate(**request["errors"]):
                value = function(*positional, **named)
            peak = tracemalloc.get_traced_memory()[1] if request["traced"] else 0
        finally:
            tracemalloc.stop()
        said = {"value": pack(value), "peak": peak}
    except KeyError as error:
        known = name in sys.modules["__main__"].__dict__
        said = _raised(error if known else NameError(f"name {name!r} is not defined"))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        said = _raised(error)
    changes = {key: _change(arguments[key], unchanged[key]) for key in arguments}
    said["changed"] = [[key, packed] for key, packed in changes.items() if packed is not None]
    _publish(said)


def _change(argument: Any, before: Any) -> Any:
    """Return an argument, packed, if a function has changed it."""
    if not isinstance(argument, (np.ndarray, list, dict, set)):
        return None
    try:
        packed = pack(argument)
        return packed if packed != pack(before) else None
    except TypeError:
        return None


def _raised(error: BaseException) -> dict[str, Any]:
    kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
    lines = "".join(traceback.format_exception(error))
    return {"raised": kinds, "name": type(error).__name__, "said": str(error)[:SAID], "traceback": lines[-SAID:]}


def changes() -> None:
    """Publish in words what a student has changed in Python, so that tests beside the code cannot be trusted."""
    from IPython import get_ipython

    shell = get_ipython()
    found = ["IPython rewrites the code of cells"] if shell.ast_transformers or shell.input_transformers_post else []
    found += ["something runs at every cell"] * any(
        getattr(call, "__module__", "") == "__main__" for calls in shell.events.callbacks.values() for call in calls
    )
    found += ["Python is traced"] * bool(sys.gettrace() or sys.getprofile())
    for name, module in [*sys.modules.items()]:
        if name.partition(".")[0] in ("builtins", "numpy", "pandas", "helpers", "chromadb", "math", "wire"):
            theirs = [key for key, value in vars(module).items() if _is_theirs(value) and not key.startswith("_")]
            found += [f"{name}.{key} was replaced" for key in theirs]
    _publish({"value": pack(found)})


def _is_theirs(value: Any) -> bool:
    """Tell whether a function was written in the notebook."""
    return callable(value) and getattr(value, "__module__", "") == "__main__"
