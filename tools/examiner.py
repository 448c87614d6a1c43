"""Run the tests of an assignment in an interpreter that no student's code ever enters.

It executes the cells that are given in the assignment once, and waits on a socket. Each connection is one submission:
a fork of this process, with all of it as it was. There, a name that a student defines stands for the function in the
student's own kernel: it is called there, and plain data come back (`tools/wire.py`). So a test cannot be read, its
expected values cannot be found, and nothing that a student changes in Python changes it.

A line on the socket is JSON. The runner sends ``{"test": source, "seconds": limit}``; before the verdict,
``{"passed": bool, …}``, come the questions ``{"call": name, …}`` and ``{"look": name}``, each to be answered by a line.
"""

import argparse
import ast
import builtins
import contextlib
import io
import json
import os
import pickle
import signal
import socketserver
import symtable
import sys
import tempfile
import traceback
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lean  # noqa: F401 (before nbformat)
import nbformat
import numpy as np
import wire
from IPython.display import display

PRINTED = 20_000
"""Characters kept of what a test prints."""
SPARE = 10
"""Seconds that a test may take beyond its limit, in which the runner stops a student's function that does not end."""
Ask = Callable[[dict[str, Any]], dict[str, Any]]


def defined(source: str) -> dict[str, bool]:
    """Return the names that a cell defines, and whether each is a function or class."""
    symbols = symtable.symtable(source, "<cell>", "exec").get_symbols()
    return {s.get_name(): s.is_namespace() for s in symbols if s.is_assigned() or s.is_imported()}


def used(source: str) -> set[str]:
    """Return the names of the notebook that a cell reads, in its functions too."""
    tables, found = [symtable.symtable(source, "<cell>", "exec")], set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        at_top = table.get_type() == "module"
        found |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and (at_top or s.is_global())}
    return found


class Assignment:
    """What is given in an assignment, and which names are the student's.

    Parameters
    ----------
    source : NotebookNode
        With solutions and tests. A cell that is given, and uses what a student defines, is left to the student's
        kernel, with what it defines.

    Attributes
    ----------
    given : list of str
        The sources of the cells that are executed here.
    theirs : dict
        The names that belong to the student, and whether each is a function.
    """

    def __init__(self, source: nbformat.NotebookNode) -> None:
        cells = [(cell.source, cell.metadata.get("nbgrader", {})) for cell in source.cells if _is_python(cell)]
        self.theirs: dict[str, bool] = {}
        for text, meta in cells:
            if meta.get("solution"):
                self.theirs |= defined(text)
        self.given: list[str] = []
        for text, meta in cells:
            if not meta.get("solution") and not meta.get("grade"):
                if used(text) & self.theirs.keys():
                    self.theirs |= defined(text)
                else:
                    self.given.append(text)

    def imports(self) -> list[str]:
        """Return the import statements of the given cells."""
        nodes = [node for text in self.given for node in ast.parse(text).body]
        return [ast.unparse(node) for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]


def _is_python(cell: nbformat.NotebookNode) -> bool:
    """Tell whether a cell is plain Python; magic of IPython's is nothing that a test needs."""
    with contextlib.suppress(SyntaxError):
        return cell.cell_type == "code" and bool(ast.parse(cell.source))
    return False


def execute(sources: list[str], names: dict[str, Any]) -> None:
    """Execute cells; one that fails here leaves its names out, and the tests that need them tell."""
    for source in sources:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
            exec(compile(source, "<given>", "exec"), names)


class Remote:
    """A function of the student's, called in the student's kernel.

    Parameters
    ----------
    name : str
    ask : callable
        Sends a question, and returns the answer.
    folder : Path
        Where arguments are written; the student's kernel can read it.
    """

    def __init__(self, name: str, ask: Ask, folder: Path) -> None:
        self.__name__, self._ask, self._folder = name, ask, folder

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the student's function returns, or raise what it raises."""
        traced, before = tracemalloc.is_tracing(), tracemalloc.get_traced_memory()
        tracemalloc.stop()  # the way there and back is not the student's memory
        request = {"args": args, "kwargs": kwargs, "errors": np.geterr(), "traced": traced}
        request["copy"] = pickle.dumps({"args": args, "kwargs": kwargs})
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".call") as file:
            file.write(pickle.dumps(request))
            file.flush()
            Path(file.name).chmod(0o644)
            reply = self._ask({"call": self.__name__, "file": file.name})
        arguments = {**dict(enumerate(args)), **kwargs}
        for key, changed in reply.get("changed", []):
            _write_back(arguments[key], wire.unpack(changed))
        value = _value(reply)
        if traced:
            tracemalloc.start()
            np.empty(max(before[1], before[0] + int(reply["peak"])), np.uint8)  # needed there, counted here
        return value


def _value(reply: dict[str, Any]) -> Any:
    if "raised" not in reply:
        return wire.unpack(reply["value"])
    kinds = [getattr(builtins, kind, None) for kind in reply["raised"]]
    kind = next((k for k in kinds if isinstance(k, type) and issubclass(k, Exception)), RuntimeError)
    said = str(reply["said"]) if reply["name"] == kind.__name__ else f"{reply['name']}: {reply['said']}"
    try:
        error = kind(said)
    except TypeError:  # such as UnicodeDecodeError, which wants more than a sentence
        error = RuntimeError(said)
    error.add_note(str(reply.get("traceback", "")))
    raise error


def _write_back(argument: Any, value: Any) -> None:
    """Change an argument as the student's function did."""
    if isinstance(argument, np.ndarray) and argument.flags.writeable and argument.shape == value.shape:
        np.copyto(argument, value, casting="unsafe")
    elif isinstance(argument, list):
        argument[:] = value
    elif isinstance(argument, (dict, set)):
        argument.clear()
        argument.update(value)


class Examination(socketserver.StreamRequestHandler):
    """The tests of one submission, one after the other, in a process of their own."""

    assignment: Assignment
    names: dict[str, Any]
    late: bool
    """The given cells have not been executed yet: they start threads, which a fork loses."""

    def handle(self) -> None:
        """Answer until the runner hangs up."""
        folder = Path(json.loads(self.rfile.readline())["folder"])
        tempfile.tempdir = str(folder)  # what a test writes for a student's function must be seen there
        if self.late:
            execute(self.assignment.given, self.names)
        self.names |= {"__name__": "__main__", "display": display}
        for line in self.rfile:
            request = json.loads(line)
            if "test" in request:  # else it is the answer to a question of a test that was stopped meanwhile
                self._send(self._examine(request, folder))

    def _send(self, message: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(message).encode() + b"\n")

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        self._send(question)
        return json.loads(self.rfile.readline())

    def _examine(self, request: dict[str, Any], folder: Path) -> dict[str, Any]:
        printed, said = io.StringIO(), {}
        signal.alarm(int(request["seconds"]) + SPARE)
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                for name in used(request["test"]) & self.assignment.theirs.keys():
                    self._provide(name, folder)
                exec(compile(request["test"], "<test>", "exec"), self.names)
        except ConnectionError:
            raise
        except BaseException as error:
            said = {"ename": type(error).__name__, "evalue": str(error)[: wire.SAID]}
            said["traceback"] = _lines(error, request["test"])
        finally:
            signal.alarm(0)
            tracemalloc.stop()
        return {"passed": not said, "printed": printed.getvalue()[:PRINTED], **said}

    def _provide(self, name: str, folder: Path) -> None:
        """Give a name its meaning for a test: a function is called there, a value is brought here."""
        if self.assignment.theirs[name]:
            self.names[name] = Remote(name, self._ask, folder)
            return
        reply = self._ask({"look": name})
        self.names.pop(name, None)
        if not reply.get("missing"):
            self.names[name] = _value(reply)


def _lines(error: BaseException, test: str) -> list[str]:
    """Return where a test failed, and what the student's own code said."""
    steps = [step for step in traceback.extract_tb(error.__traceback__) if step.filename == "<test>"]
    shown = [f"line {steps[-1].lineno} of the test: {test.splitlines()[steps[-1].lineno - 1].strip()}"] if steps else []
    return [*shown, *getattr(error, "__notes__", []), f"{type(error).__name__}: {error}"[: wire.SAID]]


def _too_long(*_: Any) -> None:
    raise TimeoutError("this test ran for too long and was stopped")


class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """A fork for each submission, as long as the grading that started this is there."""

    started_by = os.getppid()

    def service_actions(self) -> None:
        """End when the grading was ended without a chance to say so."""
        super().service_actions()
        if os.getppid() != self.started_by:
            os._exit(0)


def threads() -> int:
    """Count the threads of this process, those too that Python knows nothing of."""
    return len(list(Path("/proc/self/task").iterdir())) if Path("/proc/self/task").is_dir() else 1


def main() -> None:
    """Read the command line, prepare the assignment, and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="the notebook with solutions and tests")
    parser.add_argument("socket", help="where to listen")
    parser.add_argument("--late", action="store_true", help="execute the given cells for each submission anew")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, _too_long)
    assignment = Assignment(nbformat.read(options.source, as_version=4))
    names: dict[str, Any] = {}
    execute(assignment.imports(), names)
    if not options.late:
        before = threads()
        execute(assignment.given, names)
        if threads() > before + 1:  # they would be missing in a fork
            os.execv(sys.executable, [sys.executable, *sys.argv, "--late"])
    Examination.assignment, Examination.names, Examination.late = assignment, names, options.late
    with Server(options.socket, Examination) as server:
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
