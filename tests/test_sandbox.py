"""What a submission can do to its teacher and to its marks: attacks of known kinds, in a class that is graded."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from test_teach import DOUBLE, LARGEST, ROOT, TEACH, cell, find, points, pytestmark, rows, teach  # noqa: F401
from test_teach import assignment as numbers

BWRAP = (
    shutil.which("bwrap") and not subprocess.run(["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]).returncode
)
walled = pytest.mark.skipif(not BWRAP, reason="needs bubblewrap and namespaces for ordinary users (Linux)")
BOX = "class Box:\n    def __init__(self):\n        {}"
SECRET = "the teacher's own file"


def boxes():
    """Make an assignment whose tests need an object of the student's, so that they cannot run apart."""
    box = BOX.format("### BEGIN SOLUTION\n        {}\n        ### END SOLUTION").format("self.value = 3")
    hidden = "### BEGIN HIDDEN TESTS\nassert abs(Box().value - 3) < 1\n### END HIDDEN TESTS"
    tests = {"grade": True, "locked": True}
    return new_notebook(
        cells=[
            cell(new_code_cell, box, "box", solution=True),
            cell(new_code_cell, "assert Box().value == 3, 'it is 3'", "box_check", points=1, **tests),
            cell(new_code_cell, hidden, "box_grade", points=2, **tests),
        ],
        metadata={"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    )


WRONG = "def double(x):\n    return None"
STRIP = """import ast


class Strip(ast.NodeTransformer):
    def visit_Assert(self, node):
        return None


get_ipython().ast_transformers.append(Strip())
"""
EQUAL = """class Equal:
    def __eq__(self, other):
        return True


def {}(x):
    return Equal()"""
CELL = """import re


def double(x):
    return int(re.findall(r"double\\(%s\\) == (\\d+)" % x, "\\n".join(In))[-1])"""
FRAMES = """import sys


def double(x):
    frame = sys._getframe()
    while frame:
        numbers = [c for c in frame.f_code.co_consts if isinstance(c, int)]
        if x in numbers and "assert" in str(frame.f_code.co_consts) + "assert":
            return next((n for n in numbers if n != x), None)
        frame = frame.f_back"""
MEMORY = """import gc
import re


def double(x):
    for known in gc.get_objects():
        if isinstance(known, (tuple, dict)):
            for part in known.values() if isinstance(known, dict) else known:
                if isinstance(part, str) and (found := re.search(r"double\\(%s\\) == (\\d+)" % x, part)):
                    return int(found[1])"""
FORGED = """import os
import re
import sys

from IPython.display import publish_display_data


def double(x):
    for mark in re.findall(r"[0-9a-f]{16,64}", "\\n".join(In) + str(sys.argv) + str(dict(os.environ))):
        publish_display_data({"text/plain": mark})
    os._exit(0)"""
DISK = """from pathlib import Path


def double(x):
    for source in SOURCES:
        found = re.search(r"double\\(%s\\) == (\\d+)" % x, Path(source).read_text())
        return int(found[1])"""
SCORE = "def double(x):\n    print('score: 100 of 100')\n    return 2 * x"
LATER = "def double(x):\n    return 2 * x if x == 1 else print('score: full marks')"
# name: (answer to the first task, a cell before all others, points that it may get of the 4, what the remarks say)
CHEATS = {
    "strips_asserts": (WRONG, STRIP, 0, "assert does nothing"),
    "equals_everything": (EQUAL.format("double"), "", 0, "equal to"),
    "reads_the_cell": (CELL, "", 1, "code of other cells"),
    "reads_frames": (FRAMES, "", 1, "functions that call it"),
    "searches_memory": (MEMORY, "", 1, "memory"),
    "forges_a_mark": (FORGED, "", 0, "ends processes"),
    "changes_errors": (WRONG, "import builtins\n\nbuiltins.AssertionError = type('Fine', (Warning,), {})", 0, ""),
    "prints_a_score": (SCORE, "", 4, "looks like a score"),
}


ENDLESS = "def double(x):\n    while x != 1:\n        pass\n    return 2"
HUGE = "def double(x):\n    return 2 if x == 1 else 'x' * 100_000_000"
DEEP = """def double(x):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    return 2 if x == 1 else deep"""
LIVE = "def double(x):\n    return 2 if x == 1 else open('/dev/zero')"
DIES = "import os\n\n\ndef double(x):\n    return 2 if x == 1 else os._exit(0)"


ODD = {"endless": ENDLESS, "huge": HUGE, "deep": DEEP, "live": LIVE, "dies": DIES}


BESIDE = {
    "right": (BOX.format("self.value = 3"), "", 3, ""),
    "wrong": (BOX.format("self.value = 4"), "", 0, ""),
    "strips_asserts": (BOX.format("self.value = 4"), STRIP, 0, "assert does nothing"),
    "patches_abs": (
        BOX.format("self.value = 4"),
        "import builtins\n\nbuiltins.abs = lambda x: 0",
        0,
        "builtins.abs was replaced",
    ),
    "forges_a_mark": (FORGED.replace("def double(x)", "def Box()"), "", 0, "ends processes"),
    "equals_everything": (EQUAL.format("f") + "\n\n\nclass Box:\n    value = Equal()", "", 1, "equal to"),
}


LOOK = """import json
import os
import socket
import subprocess
from pathlib import Path

seen = {{}}
for place in {places!r}:
    try:
        seen[place] = (os.listdir(place) if os.path.isdir(place) else Path(place).read_text(errors="replace")[:99])
    except OSError as error:
        seen[place] = None
for place in {folders!r}:
    try:
        Path(place, "planted").write_text("planted")
    except OSError:
        pass
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=2).close()
    seen["network"] = True
except OSError:
    seen["network"] = None
seen["processes"] = [
    Path(p, "cmdline").read_text().replace(chr(0), " ") for p in Path("/proc").iterdir() if p.name.isdigit()
]
seen["environment"] = dict(os.environ)
subprocess.Popen("env -i setsid nohup sleep 4322 &", shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvpe("sleep", ["sleep", "4323"], {{}})
    os._exit(0)
print("SEEN", json.dumps(seen))
"""
FORKS = "import os\n\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
HOARD = """import os
import time

for _ in range(6):
    if os.fork() == 0:
        hoard = bytes([1]) * 1_000_000_000
        time.sleep(60)
time.sleep(60)"""
DISKS = """import os

written = 0
for place in ("/tmp", "/dev/shm", os.environ["HOME"], "/", "/var/tmp", "/dev"):
    try:
        for number in range(100):
            with open(f"{place}/fill{number}", "wb") as file:
                for _ in range(19):
                    file.write(bytes(10_000_000))
                    written += 10_000_000
    except OSError:
        pass
print("WRITTEN", written)
"""


EXTRA = {"looks": LOOK, "other": "", "forks": FORKS, "hoards": HOARD, "fills": DISKS}


def submission(answers, before="", after=""):
    """Return what makes a notebook of a release: answers to some of its tasks, and a cell before or after all others.

    The other tasks are solved.
    """

    def make(notebook):
        for task, code in (({"double": DOUBLE, "largest": LARGEST} if "box" not in answers else {}) | answers).items():
            find(notebook, task).source = code
        notebook.cells[:0] = [new_code_cell(before)] if before else []
        notebook.cells += [new_code_cell(after)] if after else []
        return notebook

    return make


CHEATING = {name: submission({"double": double}, before) for name, (double, before, _, _) in CHEATS.items()}


def released(folder):
    """Release both assignments; keep a copy, for another class."""
    (folder / "sources").mkdir(parents=True)
    nbformat.write(numbers(), folder / "sources" / "numbers.ipynb")
    nbformat.write(boxes(), folder / "sources" / "boxes.ipynb")
    teach(folder, "release")
    shutil.copytree(folder / "class", folder / "fresh")


def grade(folder, submissions, *options):
    """Grade what is made of the releases; return the marks by assignment and name, and what was printed."""
    for assignment, made in submissions.items():
        release = folder / "class" / "release" / assignment / f"{assignment}.ipynb"
        for name, make in made.items():
            (folder / "handed in" / name).mkdir(parents=True, exist_ok=True)
            notebook = make(nbformat.read(release, as_version=4))
            nbformat.write(notebook, folder / "handed in" / name / f"{assignment}.ipynb")
    blind = shutil.copytree(ROOT / "data" / "test" / "cat", folder / "blind" / "cat").parent
    limits = ["--cell-seconds", 10, "--seconds", 60, "--memory", 3, "--blind", blind]
    said = teach(folder, "grade", folder / "handed in", *limits, *options)
    return {name: rows(folder / "class" / "grades" / f"{name}.csv") for name in submissions}, said


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """A class in which all attacks are handed in together; what could do harm outside a sandbox, if there is one."""
    folder = tmp_path_factory.mktemp("attacked")
    server = socket.create_server(("127.0.0.1", 0))
    reached = []
    threading.Thread(target=lambda: reached.append(server.accept()), daemon=True).start()
    home = folder / "teacher"
    home.mkdir()
    (home / "diary").write_text(SECRET)
    places = [home / "diary", home, folder / "class" / "gradebook.db", folder / "sources" / "numbers.ipynb",
              folder / "handed in" / "other" / "numbers.ipynb", ROOT / "notebooks" / "assignments" / "1_pixels.ipynb",
              "/etc/passwd", "/etc/shadow", "/root", "/home", f"/proc/{os.getpid()}/environ"]  # fmt: skip
    folders = [home, folder / "class", ROOT, ROOT / "helpers", "/tmp", "/etc", "/usr/lib"]
    look = LOOK.format(places=[*map(str, places)], folders=[*map(str, folders)], port=server.getsockname()[1])
    on_numbers = CHEATING | {name: submission({"double": code}) for name, code in ODD.items()}
    if BWRAP:
        on_numbers |= {name: submission({}, after=code) for name, code in (EXTRA | {"looks": look}).items()}
    on_boxes = {name: submission({"box": answer}, before) for name, (answer, before, _, _) in BESIDE.items()}
    planted_before = {place for place in folders if Path(place, "planted").exists()}
    released(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("TEACHERS_TOKEN", SECRET)
        marks, said = grade(folder, {"numbers": on_numbers, "boxes": on_boxes})
    planted = {place for place in folders if Path(place, "planted").exists()} - planted_before
    return SimpleNamespace(folder=folder, marks=marks, said=said, places=places, reached=reached, planted=planted)


def assert_not_earned_is_not_given(marks):
    for name, (_, _, most, remark) in CHEATS.items():
        row = marks[name]
        assert float(row["double_check"]) + float(row["double_grade"]) <= most, name
        assert remark in row["remarks"], (name, row["remarks"])
        assert "full marks" not in row["remarks"] and "score: 100" not in row["remarks"]


def test_marks_that_are_not_earned_are_not_given(attacked):
    assert_not_earned_is_not_given(attacked.marks["numbers"])
    assert ("No sandbox" in attacked.said) == (not BWRAP)


@walled
def test_marks_that_are_not_earned_are_not_given_without_a_sandbox_either(attacked, tmp_path):
    shutil.copytree(attacked.folder / "sources", tmp_path / "sources")
    shutil.copytree(attacked.folder / "fresh", tmp_path / "class")
    marks, said = grade(tmp_path, {"numbers": CHEATING}, "--no-sandbox")
    assert_not_earned_is_not_given(marks["numbers"])
    assert "No sandbox" in said


def test_what_goes_wrong_within_a_function_costs_its_own_test_only(attacked):
    marks = attacked.marks["numbers"]
    for name in ODD.keys() - {"dies"}:
        row = marks[name]
        assert (row["double_check"], row["double_grade"], points(row)) == ("1.0", "0.0", 4), (name, row)
    assert points(marks["dies"]) == 1 and "died" in marks["dies"]["remarks"]


def test_a_test_beside_the_code_sees_the_cheap_tricks(attacked):
    assert "cannot run apart from the students' code: box_check, box_grade" in attacked.said
    for name, (_, _, most, remark) in BESIDE.items():
        row = attacked.marks["boxes"][name]
        assert float(row["box_check"]) + float(row["box_grade"]) == most, name
        assert remark in row["remarks"], (name, row["remarks"])


def printed(attacked, name):
    """Return what the cells of a submission printed."""
    path = attacked.folder / "class" / "autograded" / name / "numbers" / "numbers.ipynb"
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    return "\n".join(out.text for c in cells for out in c.outputs if "text" in out)


@walled
def test_nothing_of_the_teachers_can_be_reached(attacked):
    marks, places = attacked.marks["numbers"], attacked.places
    assert all(points(marks[name]) == 7 for name in EXTRA), marks
    seen = json.loads(next(line for line in printed(attacked, "looks").splitlines() if line.startswith("SEEN"))[5:])
    visible = {place: seen[str(place)] for place in places if seen[str(place)]}
    # of a home folder only the way to Python may be seen, if it is there
    assert set(visible) <= {"/root", "/home"} and SECRET not in json.dumps(seen)
    assert all(name.startswith(".") or Path(sys.base_prefix).is_relative_to(Path(place, name))
               for place, names in visible.items() for name in names)  # fmt: skip
    assert seen["network"] is None and not attacked.reached
    assert all("pytest" not in line and "teach.py" not in line for line in seen["processes"])
    assert "TEACHERS_TOKEN" not in seen["environment"]
    assert not attacked.planted
    listed = subprocess.run(["ps", "-A", "-o", "args"], capture_output=True, text=True).stdout
    assert "sleep 4322" not in listed and "sleep 4323" not in listed
    assert marks["forks"]["remarks"]
    assert "GB of memory" in marks["hoards"]["remarks"]
    assert int(printed(attacked, "fills").split("WRITTEN")[1].split()[0]) < 1_500_000_000
