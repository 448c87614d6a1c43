"""Run one submitted notebook within limits, and write what each cell did.

`tools/teach.py` starts this with the course's Python, in a process and a folder of its own. It needs only the standard
library and nbclient. Whatever happens, the file that it writes holds the outputs up to then.

A test counts only when its last line was reached: a mark, made anew for each test, is shown by a line that is added
to the test. A dead kernel, an interrupted loop or a skipped cell leaves no mark.
"""

import argparse
import contextlib
import json
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError

CHARACTERS_A_CELL = 20_000
PICTURES_A_CELL = 4_000_000
SHOW = "\n__import__('IPython.display').display.publish_display_data({'text/plain': '%s'})"


def limit(memory: float, file_size: float) -> None:
    """Limit this process and all that it starts: address space and the size of a file, in GB (Linux and macOS)."""
    if sys.platform == "win32":
        return
    import resource

    for kind, gigabytes in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, file_size)):
        with contextlib.suppress(ValueError, OSError):  # macOS refuses RLIMIT_AS
            resource.setrlimit(kind, (int(gigabytes * 1e9),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Client(NotebookClient):
    """An nbclient that keeps only so much of what a cell prints."""

    kept: tuple[int, int] = (-1, 0)

    def output(self, outs: list, msg: dict, display_id: str | None, cell_index: int) -> Any:
        """Add an output to its cell, cut to what is left of the cell's share."""
        content = msg["content"]
        used = self.kept[1] if self.kept[0] == cell_index else 0
        if msg["msg_type"] == "stream":
            text = content["text"]
            content["text"] = text[: max(0, CHARACTERS_A_CELL - used)]
            used += len(text)
            if used > CHARACTERS_A_CELL and content["text"]:
                content["text"] += "\n… the rest is left out: this cell prints too much.\n"
        elif msg["msg_type"] == "error":
            content["evalue"] = content["evalue"][:2000]
            content["traceback"] = [line[:2000] for line in content["traceback"][-20:]]
        else:
            size = len(json.dumps(content.get("data", {})))
            used += size if size > CHARACTERS_A_CELL else 0
            if size > PICTURES_A_CELL:
                content["data"] = {"text/plain": "… left out: this output is too large."}
        self.kept = (cell_index, used)
        if msg["msg_type"] == "stream" and not content["text"]:
            return None
        return super().output(outs, msg, display_id, cell_index)


def run(notebook: nbformat.NotebookNode, target: Path, seconds: float, cell_seconds: float) -> None:
    """Execute `notebook` and write it to `target` after every cell.

    A test whose end was reached gets ``passed: true`` in its metadata. ``notebook.metadata.ended`` says in words why
    a run ended early.
    """
    client = Client(
        notebook,
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

    def say_what_happened(cell: nbformat.NotebookNode, cell_index: int, execute_reply: dict) -> None:
        """Keep the error of a cell that was stopped: nbclient puts it into no output."""
        reply = execute_reply["content"]
        if reply["status"] == "error" and not any(out.output_type == "error" for out in cell.outputs):
            error = {key: reply[key] for key in ("ename", "evalue", "traceback")}
            cell.outputs.append(nbformat.v4.new_output("error", **error))

    client.on_cell_executed = say_what_happened

    def save() -> None:
        part = target.with_suffix(".part")
        nbformat.write(notebook, part)
        part.replace(target)

    with client.setup_kernel():
        deadline = time.monotonic() + seconds
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code" or not cell.source.strip():
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                notebook.metadata.ended = f"the notebook ran for more than {seconds:.0f} seconds and was stopped"
                break
            client.timeout = max(1, int(min(cell_seconds, left)))
            mark, source = secrets.token_hex(16), cell.source
            if cell.metadata.get("nbgrader", {}).get("grade"):
                cell.source += SHOW % mark
            try:
                client.execute_cell(cell, index)
            except DeadKernelError:
                notebook.metadata.ended = f"the kernel died in cell {index + 1}, so the cells below it were not run"
                break
            except CellTimeoutError:
                notebook.metadata.ended = f"cell {index + 1} could not be stopped, so the cells below it were not run"
                break
            finally:
                cell.source = source
                seen = [out for out in cell.outputs if out.get("data", {}).get("text/plain") == mark]
                cell.outputs = [out for out in cell.outputs if out not in seen]
                cell.metadata.passed = bool(seen)
                save()
    save()


def main() -> None:
    """Read the command line and run one notebook."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--seconds", type=float, required=True, help="for the whole notebook")
    parser.add_argument("--cell-seconds", type=float, required=True, help="for one cell")
    parser.add_argument("--memory", type=float, required=True, help="address space in GB")
    parser.add_argument("--file-size", type=float, default=0.2, help="the largest file that may be written, in GB")
    options = parser.parse_args()
    limit(options.memory, options.file_size)
    run(nbformat.read(options.source, as_version=4), options.target, options.seconds, options.cell_seconds)


if __name__ == "__main__":
    main()
