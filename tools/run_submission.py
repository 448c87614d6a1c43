"""Run one submitted notebook within limits, and write what each cell did.

`tools/teach.py` starts this with the course's Python, in a process and a folder of its own. The kernel, where the
student's code runs, may be behind the walls of a sandbox; this process is outside, and speaks with it over sockets.
Whatever happens, the file that it writes holds the outputs up to then.

Whether a test is passed is not the kernel's to say. The test runs apart, in the examiner (`tools/examiner.py`), which
calls the student's functions over this process. Where that cannot be, it runs beside the student's code, and counts
only when the kernel still obeys afterwards, and still knows a false statement from a true one.
"""

import argparse
import contextlib
import json
import secrets
import socket
import time
from pathlib import Path
from queue import Empty
from typing import Any

import lean  # noqa: F401 (before nbformat)
import nbformat
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from traitlets.config import Config
from tricks import SCORE
from wire import MIME

CHARACTERS_A_CELL = 20_000
SHOWN_A_CELL = 4_000_000
ANSWER = 64_000_000
"""Characters of what a student's function may return, written as JSON."""


class Client(NotebookClient):
    """An nbclient that keeps only so much of what a cell prints and shows."""

    kept: tuple[int, int, int] = (-1, 0, 0)
    """The cell, the characters that it printed, and those of all that it showed."""

    def output(self, outs: list, msg: dict, display_id: str | None, cell_index: int) -> Any:
        """Add an output to its cell, cut to what is left of the cell's share."""
        content = msg["content"]
        printed, shown = self.kept[1:] if self.kept[0] == cell_index else (0, 0)
        full = shown > SHOWN_A_CELL
        if msg["msg_type"] == "stream":
            text = content["text"]
            content["text"] = text[: max(0, CHARACTERS_A_CELL - printed)]
            printed += len(text)
            if printed > CHARACTERS_A_CELL and content["text"]:
                content["text"] += "\n… the rest is left out: this cell prints too much.\n"
        elif msg["msg_type"] == "error":
            content["evalue"] = content["evalue"][:2000]
            content["traceback"] = [line[:2000] for line in content["traceback"][-20:]]
        else:
            shown += len(json.dumps(content.get("data", {}))) + 100
            if shown > SHOWN_A_CELL:
                content["data"] = {"text/plain": "… the rest is left out: this cell shows too much."}
        self.kept = (cell_index, printed, shown)
        if (full and "data" in content) or (msg["msg_type"] == "stream" and not content["text"]):
            return None
        return super().output(outs, msg, display_id, cell_index)

    async def async_ask(self, code: str, seconds: float) -> tuple[dict[str, Any], str]:
        """Execute code that is no cell; return the kernel's reply, and the answer that it published.

        Raises
        ------
        DeadKernelError, CellTimeoutError
            The kernel died, or could not be stopped when the time was over.
        """
        asked = self.kc.execute(code, store_history=False, allow_stdin=False, stop_on_error=False)
        answer, idle, reply, deadline, stopped = "", False, {}, time.monotonic() + seconds, False
        while not (idle and reply):
            if time.monotonic() > deadline:
                if stopped:
                    raise CellTimeoutError("could not be stopped")
                await self.km.interrupt_kernel()
                stopped, deadline = True, time.monotonic() + 5
            channel = self.kc.shell_channel if idle else self.kc.iopub_channel
            try:
                message = await channel.get_msg(timeout=min(1, max(0.01, deadline - time.monotonic())))
            except Empty:
                if not await self.km.is_alive():
                    raise DeadKernelError("Kernel died") from None
                continue
            if message["parent_header"].get("msg_id") != asked:
                continue
            content = message["content"]
            if message["msg_type"] == "display_data":
                answer = content["data"].get(MIME, answer)
            elif message["msg_type"] == "execute_reply":
                reply = content
            idle |= content.get("execution_state") == "idle"
        return reply, answer if isinstance(answer, str) and len(answer) <= ANSWER else ""

    ask = run_sync(async_ask)


class Examiner:
    """The other end of `tools/examiner.py`, for one submission.

    Parameters
    ----------
    address : str
        The socket where it listens.
    folder : Path
        Where it writes what a student's function is to read.
    client : Client
    """

    def __init__(self, address: str, folder: Path, client: Client) -> None:
        self._address, self._folder, self._client = address, folder, client
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(self._address)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._send({"folder": str(self._folder)})

    def _send(self, message: dict[str, Any]) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def examine(self, test: str, seconds: float) -> dict[str, Any]:
        """Run a test apart; return its verdict, with ``passed``, what it ``printed``, and the error if there is one.

        Raises
        ------
        DeadKernelError, CellTimeoutError
            As `Client.ask`, which calls the student's functions.
        """
        self._socket.settimeout(seconds + 30)
        try:
            return self._verdict(test, seconds)
        except (OSError, ValueError):  # it hung up, or says nothing
            self._connect()
            said = "what your function returned could not be examined"
            return {"passed": False, "printed": "", "ename": "NotExamined", "evalue": said, "traceback": [said]}

    def _verdict(self, test: str, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        self._send({"test": test, "seconds": seconds})
        while True:
            message = json.loads(self._lines.readline())
            if "passed" in message:
                return message
            if "call" in message:
                code = f"answer({message['call']!r}, {message['file']!r})"
            else:
                code = f"look({message['look']!r})"
            reply, answer = self._client.ask(f"__import__('wire').{code}", max(0.5, deadline - time.monotonic()))
            try:
                self._send(json.loads(answer))
            except (ValueError, RecursionError):
                self._send(nothing(reply))


def nothing(reply: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of a kernel that gave none, as an error."""
    said = f"{reply.get('ename', 'it')}: {reply.get('evalue', 'returned nothing that can be read')}"[:2000]
    said = "your function ran for too long and was stopped" if reply.get("ename") == "KeyboardInterrupt" else said
    return {"raised": ["RuntimeError"], "name": "RuntimeError", "said": said}


def as_outputs(verdict: dict[str, Any]) -> list[nbformat.NotebookNode]:
    """Return what a test said as the outputs of its cell."""
    outputs = []
    if verdict["printed"]:
        outputs.append(nbformat.v4.new_output("stream", text=verdict["printed"]))
    if not verdict["passed"]:
        error = {key: verdict[key] for key in ("ename", "evalue", "traceback")}
        outputs.append(nbformat.v4.new_output("error", **error))
    return outputs


def scores(printed: str) -> list[str]:
    """Return the lines of a test that name a score."""
    return [line for line in printed.splitlines() if line.startswith(SCORE)]


def says_no(client: Client) -> bool:
    """Tell whether a kernel still knows a false statement from a true one."""
    word = secrets.token_hex(8)
    reply, _ = client.ask(f"assert not {word!r}, {word!r}", 10)
    return (reply.get("ename"), reply.get("evalue")) == ("AssertionError", word)


def changes(client: Client) -> list[str]:
    """Return in words what shows that a test beside this code cannot be trusted."""
    if not says_no(client):
        return ["assert does nothing here"]
    _, answer = client.ask("__import__('wire').changes()", 10)
    try:
        return [str(change)[:200] for change in json.loads(answer)["value"]]
    except (ValueError, KeyError, TypeError):
        return ["Python does not say whether it was changed"]


def run(
    notebook: nbformat.NotebookNode,
    target: Path,
    seconds: float,
    cell_seconds: float,
    examiner: str,
    given: Path,
    sockets: str,
) -> None:
    """Execute `notebook` and write it to `target` after every cell.

    The metadata of a test get ``passed``; ``apart``, whether it ran apart; ``scores``, the lines that name one; and
    ``doubts`` in words. ``notebook.metadata.beside`` lists the tests that cannot run apart; without it, this is the
    solution, and all are tried. ``notebook.metadata.ended`` says in words why a run ended early.
    """
    speaking = {"transport": "ipc", "ip": sockets, "connection_file": f"{sockets}.json"} if sockets else {}
    client = Client(
        notebook,
        config=Config(KernelManager=speaking),
        kernel_name="python3",
        allow_errors=True,
        interrupt_on_timeout=True,
        error_on_timeout={
            "ename": "Timeout",
            "evalue": f"this cell ran for more than {cell_seconds:.0f} seconds and was stopped",
            "traceback": [f"Timeout: this cell ran for more than {cell_seconds:.0f} seconds and was stopped."],
        },
        iopub_timeout=10,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        shutdown_kernel="immediate",
        extra_arguments=["--IPKernelApp.log_level=CRITICAL", "--HistoryManager.enabled=False"],
    )
    ended: dict[int, str] = {}

    def say_what_happened(cell: nbformat.NotebookNode, cell_index: int, execute_reply: dict) -> None:
        """Keep the error of a cell that was stopped: nbclient puts it into no output."""
        reply = execute_reply["content"]
        ended[cell_index] = reply["status"]
        if reply["status"] == "error" and not any(out.output_type == "error" for out in cell.outputs):
            error = {key: reply[key] for key in ("ename", "evalue", "traceback")}
            cell.outputs.append(nbformat.v4.new_output("error", **error))

    client.on_cell_executed = say_what_happened

    def passes_beside(cell: nbformat.NotebookNode, index: int) -> bool:
        """Run a test in the student's kernel; tell whether it came to its end without an error, and can be trusted."""
        meta = cell.metadata
        if not meta.apart:
            meta.doubts = changes(client)
        client.execute_cell(cell, index)
        if ended.get(index) != "ok" or any(out.output_type == "error" for out in cell.outputs):
            return False
        if not says_no(client):  # an output could have been made before the end: the kernel must still answer
            meta.doubts = ["assert does nothing here"]
        return not meta.doubts

    def test(cell: nbformat.NotebookNode, index: int, limit: float) -> None:
        """Run a test where its verdict can be trusted most."""
        meta, beside = cell.metadata, notebook.metadata.get("beside")
        meta.passed, meta.doubts = False, []
        meta.apart = apart is not None and meta.nbgrader.grade_id not in (beside or [])
        hidden = "### BEGIN HIDDEN TESTS" in cell.source
        if not (meta.apart and hidden) or beside is None:
            meta.passed = passes_beside(cell, index)
            if not meta.apart or not meta.passed:
                return
        verdict = apart.examine(cell.source, limit)
        if beside is None:  # this is the solution, which is run to find out
            meta.apart = verdict["passed"]
            return
        if meta.passed and not verdict["passed"]:
            meta.doubts = ["it passes beside the student's code, and not apart from it"]
        if hidden or not verdict["passed"]:
            cell.outputs = as_outputs(verdict)
        meta.passed, meta.scores = verdict["passed"], scores(verdict["printed"])

    def save() -> None:
        part = target.with_suffix(".part")
        nbformat.write(notebook, part)
        part.replace(target)

    with client.setup_kernel():
        apart = Examiner(examiner, given, client) if examiner else None
        deadline = time.monotonic() + seconds
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code" or not cell.source.strip():
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                notebook.metadata.ended = f"the notebook ran for more than {seconds:.0f} seconds and was stopped"
                break
            client.timeout = max(1, int(min(cell_seconds, left)))
            try:
                if cell.metadata.get("nbgrader", {}).get("grade"):
                    test(cell, index, client.timeout)
                else:
                    client.execute_cell(cell, index)
            except DeadKernelError:
                notebook.metadata.ended = f"the kernel died in cell {index + 1}, so the cells below it were not run"
                break
            except CellTimeoutError:
                notebook.metadata.ended = f"cell {index + 1} could not be stopped, so the cells below it were not run"
                break
            finally:
                save()
    save()


def main() -> None:
    """Read the command line and run one notebook."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--seconds", type=float, required=True, help="for the whole notebook")
    parser.add_argument("--cell-seconds", type=float, required=True, help="for one cell")
    parser.add_argument("--examiner", default="", help="the socket of the examiner")
    parser.add_argument("--given", type=Path, required=True, help="where the examiner writes for a student's function")
    parser.add_argument(
        "--sockets", default="", help="where the kernel listens, if not on a port: a path, to be added to"
    )
    options = parser.parse_args()
    with contextlib.suppress(OSError):  # when memory is short, the kernel that this starts goes first
        Path("/proc/self/oom_score_adj").write_text("1000")
    notebook = nbformat.read(options.source, as_version=4)
    limits = options.seconds, options.cell_seconds
    run(notebook, options.target, *limits, options.examiner, options.given, options.sockets)


if __name__ == "__main__":
    main()
