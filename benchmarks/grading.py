"""How long a submission takes to grade, with the sandbox and without: run by `.venv-teach/bin/python`.

Each assignment's solution is run as a submission, by turns in a sandbox and outside; the median of the ratios counts.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
from bench import Bench, Limits
from course import ROOT, Course

ROUNDS = 3


def main() -> None:
    """Print for each assignment the seconds in a sandbox and outside, and their ratio."""
    python = str(ROOT / ".venv" / "bin" / "python")
    with tempfile.TemporaryDirectory() as folder:
        course = Course(Path(folder), ROOT / "notebooks" / "assignments")
        course.release()
        benches = {walls: Bench(python, Limits(), walls=walls) for walls in (True, False)}
        if benches[True].open:
            sys.exit(f"There is no sandbox here: {benches[True].open}")
        for name in course.assignments():
            template = course.template(name)
            for bench in benches.values():
                bench.prepare(name, template.source, template.solved())
            times: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(ROUNDS):
                for walls, bench in benches.items():
                    start = time.perf_counter()
                    bench.run(template.solved(), name)
                    times[walls].append(time.perf_counter() - start)
            ratio = statistics.median(inside / outside for inside, outside in zip(*times.values(), strict=True))
            inside, outside = (statistics.median(times[walls]) for walls in (True, False))
            print(f"{name:12} in a sandbox {inside:5.1f} s, without {outside:5.1f} s: {ratio:.2f} times as long")
        for bench in benches.values():
            bench.close()


if __name__ == "__main__":
    main()
