"""Execute notebooks in a fresh kernel each, and print one line a notebook: its name, seconds, and figures.

Run twice, it writes the same bytes twice, but for the numbers that a clock gives: no timestamps, no random cell
ids, no widget state. Without --to the outputs are stored in the notebooks themselves.
"""

import argparse
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError


def execute(source: Path, target: Path, timeout: int) -> nbformat.NotebookNode:
    """Run `source` from top to bottom in its own folder and write it, with its outputs, to `target`."""
    notebook = nbformat.read(source, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        store_widget_state=False,
        resources={"metadata": {"path": str(source.parent)}},
    )
    try:
        client.execute()
    finally:
        for number, cell in enumerate(notebook.cells):
            cell.id = f"cell-{number:03d}"
            for output in cell.get("outputs", []):
                # a widget lives as long as its kernel: what is stored is the HTML that it carries for readers
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
        notebook.metadata = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, target)
    return notebook


def count_figures(notebook: nbformat.NotebookNode) -> int:
    """Count the images in the outputs."""
    outputs = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    return sum("<img " in str(out.get("data", {}).get("text/html", "")) for out in outputs)


def main() -> int:
    """Execute the notebooks named on the command line; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--to", type=Path, help="the folder to write to; else in place")
    parser.add_argument("--timeout", type=int, default=1200, help="seconds allowed for one cell")
    options = parser.parse_args()
    failed = 0
    for source in options.notebooks:
        target = options.to / source.name if options.to else source
        start = time.perf_counter()
        try:
            figures = count_figures(execute(source, target, options.timeout))
        except (CellExecutionError, CellTimeoutError) as error:
            failed += 1
            print(f"{source.name:28} FAILED: {error}", file=sys.stderr)
            continue
        print(f"{source.name:28} {time.perf_counter() - start:6.1f} s  {figures:3d} figures", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
