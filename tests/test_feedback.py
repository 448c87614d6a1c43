"""What a student wrote is shown, and never runs: to the teacher, and on the pages of feedback, which say what helps."""

import base64
import csv
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from html.parser import HTMLParser

import nbformat
import pytest
from conftest import free_port
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from test_browser import browser  # noqa: F401 (a fixture)
from test_teach import DOUBLE, ROOT, TEACH, cell, find, rows, teach

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or not TEACH.exists(), reason="needs .venv-teach, which make test installs (not on Windows)"
)
CLEAN = """
import json
import sys

sys.path.insert(0, sys.argv[1])
import nbformat
from clean import clean

for line in sys.stdin:
    given = [nbformat.from_dict(notebook) for notebook in json.loads(line)]
    once = [clean(notebook, {"<b>ours</b>"}) for notebook in given]
    print(json.dumps([once, [clean(notebook, {"<b>ours</b>"}) for notebook in once]]), flush=True)
"""
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
RAN = "window.ran=(window.ran||[]).concat({})"
BEACON = "http://beacon.example/{}"
# each would run, or ask another computer, on a page that shows it as it is; {js} and {beacon} tell which did
MARKDOWN = [
    "<script>{js}</script>",
    "words <img src=x onerror='{js}'> words",
    "<svg onload='{js}'></svg>",
    "<iframe srcdoc='<script>parent.{js}</script>'></iframe>",
    "<details open ontoggle='{js}'>more</details>",
    "<input autofocus onfocus='{js}'>",
    "<style>@import url({beacon});</style>",
    "<p style='position:fixed;inset:0;background:url({beacon})'>covers</p>",
    "<link rel=stylesheet href={beacon}>",
    "<object data={beacon}></object><embed src={beacon}>",
    "![a picture]({beacon})",
    "```mermaid\n</pre><img src=x onerror='{js}'>\n```",
    "<video><source onerror='{js}'></video>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror={js}&gt;'></table></math>",
    "<noscript><p title='</noscript><img src=x onerror={js}>'></noscript>",
    "<b><!-- --!><img src=x onerror='{js}'> --></b>",
    "<table background={beacon}><td>cell",
]  # fmt: skip
OUTPUTS = [
    {"text/html": "<script>{js}</script>"},
    {"text/html": "<img src=x onerror='{js}'>"},
    {"application/javascript": "{js}"},
    {"text/markdown": "<img src=x onerror='{js}'>"},
    {"text/html": "<audio src=x onerror='{js}'></audio>"},
    {"application/vnd.jupyter.widget-view+json": {"model_id": "{js}", "version_major": 2}, "text/plain": "IntSlider()"},
]
CLICKED = [  # each would run when it is clicked
    "[one](javascript:{js})",
    "[two](java&#115;cript:{js})",
    "[three]\n\n[three]: javascript:{js}",
    "<a href='java\tscript:{js}'>four</a>",
    "<a href=' \x01javascript:{js}'>five</a>",
    "[six](vbscript:x)",
    "[seven](data:text/html;base64,{data})",
    "<form action='javascript:{js}'><button>eight</button></form>",
    "[nine](/formgrader?path=/tmp)",
]


def planted(payload, number):
    """Return a payload that tells its number when it runs."""
    js, beacon = RAN.format(number), BEACON.format(number)
    data = base64.b64encode(f"<script>{js}</script>".encode()).decode()
    text = json.dumps(payload).replace("{js}", js).replace("{beacon}", beacon).replace("{data}", data)
    return json.loads(text)


SHOWN = [planted(payload, number) for number, payload in enumerate(MARKDOWN)]
SHOWN_OUTPUTS = [planted(payload, 100 + number) for number, payload in enumerate(OUTPUTS)]
LINKS = [planted(payload, 200 + number) for number, payload in enumerate(CLICKED)]
NAME = '"><img src=x onerror=window.ran=[300]>;\';window.ran=[301];\'";window.ran=[302];"'


@functools.cache
def cleaner():
    """Start a process in the teacher's environment that cleans as long as these tests run."""
    command = [TEACH, "-c", CLEAN, ROOT / "tools"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def cleaned(*notebooks):
    """Clean notebooks in the teacher's environment."""
    limit = threading.Timer(600, cleaner().kill)
    limit.start()
    cleaner().stdin.write(json.dumps(notebooks) + "\n")
    cleaner().stdin.flush()
    answer = cleaner().stdout.readline()
    limit.cancel()
    once, twice = ([nbformat.from_dict(n) for n in notebooks] for notebooks in json.loads(answer))
    for one, two in zip(once, twice, strict=True):
        assert [c.source for c in one.cells] == [c.source for c in two.cells], "cleaned twice, it is the same"
        assert [c.get("outputs") for c in one.cells] == [c.get("outputs") for c in two.cells]
    return once


def texts_cleaned(sources):
    return [c.source for c in cleaned(new_notebook(cells=[new_markdown_cell(source) for source in sources]))[0].cells]


def outputs_cleaned(*outputs):
    return cleaned(new_notebook(cells=[new_code_cell("x", outputs=list(outputs))]))[0].cells[0].outputs


class Page(HTMLParser):
    """The elements and the words of a page."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.said = [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.said += data


HARMLESS = {
    "div", "p", "b", "br", "h1", "pre", "code", "span", "img", "table", "thead", "tbody", "tr", "td", "th",
}  # fmt: skip


def assert_harmless(page):
    for tag, attributes in Page(page).elements:
        assert tag in HARMLESS, (tag, page)
        assert not [name for name in attributes if name.startswith("on") or name in ("href", "id", "background")], page
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/"), page
        assert not re.search(r"url|position|import", attributes.get("style") or ""), page


@pytest.mark.parametrize("kind", ["text", "output"])
def test_nothing_that_runs_is_left(kind):
    if kind == "text":
        shown = texts_cleaned(SHOWN + LINKS)
        assert all("\n" not in page for page in shown), "it would be read as Markdown once more"
    else:
        shown = [output.data.get("text/html", "") for output in outputs_cleaned(*map(display, SHOWN_OUTPUTS))]
    for page in shown:
        assert_harmless(page)


def display(data):
    return new_output("display_data", data=data)


@pytest.mark.parametrize(
    "source",
    [
        "if a < b and x<y, then `List<int>` and `<script>` are *words*, $x<y$ and 3 > 2",
        "```python\nif a < b:\n    print('<b>&amp;')\n```\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |",
        "\N{RIGHT-TO-LEFT OVERRIDE}evil and É, 你好, \N{SLICE OF PIZZA}",
        "",
    ],
)
def test_words_code_and_tables_stay_as_they_were_written(source):
    assert texts_cleaned([source]) == [source]


@pytest.mark.parametrize(
    "source, said",
    [
        ("<name> is x<y and z>w, a <class 'int'>, List<int>", "<name> is x<y and z>w, a <class 'int'>, List<int>"),
        ("before <script>alert(1)</script> after", "before [left out: script]alert(1) after"),
        ("<script>alert(1)</script>", "[left out: script]"),
        ("<div><pre>a\n\n[x](javascript:alert(1))\n\n</pre></div>", "a x [left out: a link]"),
        ("<details><summary>More</summary>hidden</details>", "Morehidden"),
        ("[a book](https://book.example/a?b=1&c=2)", "a book (https://book.example/a?b=1&c=2)"),
        ("https://numpy.example <me@school.example>", "https://numpy.example me@school.example"),
        ("[x](javascript:alert(1))", "x [left out: a link]"),
        ("![the cat](attachment:cat.png)", "[left out: a picture “the cat”]"),
        ("# why_grade\n\n<b onclick='x'>bold</b>", "why_grade\nbold"),
        (r"$\href{javascript:1}{x}$ and $\frac{1}{2}$", "$\\\u200bhref{javascript:1}{x}$ and $\\frac{1}{2}$"),
        ("<b>open\n\n`code` & more", "open\n\ncode & more"),
        ("<div title='it\"s'>" * 500 + "deep\n\n", "<div title='it\"s'>" * 500 + "deep"),
        ("$\\\\[" * 3_000 + "<b>", "$\\\\[" * 3_000 + "<b>"),
        ("<b>" * 30_000, "<b>" * 30_000),
    ],
)  # fmt: skip
def test_what_is_left_out_is_named_and_the_rest_can_be_read(source, said):
    (shown,) = texts_cleaned([source])
    assert " ".join(Page(shown).said.split()) == " ".join(said.split())
    assert_harmless(shown)


def test_tables_and_figures_stay_and_other_outputs_are_named():
    table = (
        "<style scoped>td {}</style><table border='1' class='dataframe modal'><thead><tr style='text-align: right;'>"
    )
    table += "<th></th><th>mAP</th></tr></thead><tbody><tr><th>0</th><td>0.51 &lt; 1</td></tr></tbody></table>"
    figure = f'<img alt="a figure" src="data:image/png;base64,{DOT}" style="max-width: 100%; position: fixed">'
    sized = {"image/png": {"width": 20, "height": "1 onerror=alert(1)"}, "filenames": {"image/png": "http://x.example"}}
    given = [
        display({"text/html": table, "text/plain": "a table"}),
        display({"text/html": figure}),
        new_output("execute_result", data={"image/png": DOT}, metadata=sized, execution_count=1),
        display({"image/svg+xml": "<svg onload='alert(1)'/>", "text/plain": "<SVG>"}),
        display({"application/x-unknown": "<script>", "application/javascript": "alert(1)"}),
        display({"text/latex": r"$\href{javascript:alert(1)}{x}$"}),
        display({"image/png": "<script>"}),
        display({"text/html": "<b>" * 30_000}),
        new_output("stream", name="stdout", text="\x1b[31m<script>\x1b[0m \ud800 \x00\x9b" + "x" * 100_000),
        new_output("error", ename="E", evalue="<b>", traceback=["\x1b[31m<img src=x onerror=alert(1)>\x1b[0m"]),
    ]
    kept = outputs_cleaned(*given)
    html = [output.data["text/html"] for output in kept if "text/html" in output.get("data", {})]
    assert "mAP" in html[0] and "0.51 &lt; 1" in html[0] and 'class="dataframe"' in html[0] and "{}" not in html[0]
    assert "text-align:right" in html[0] and kept[0].data["text/plain"] == "a table"
    assert DOT in html[1] and "max-width:100%" in html[1] and "position" not in html[1]
    assert kept[2].output_type == "execute_result" and kept[2].metadata == {"image/png": {"width": 20}}
    words = [output.data["text/plain"] for output in kept[3:] if "data" in output]
    assert words == [
        "<SVG>",
        "[left out: an SVG picture]",
        "[left out: JavaScript] [left out: application/x-unknown]",
        r"$\href{javascript:alert(1)}{x}$",
        "[left out: image/png]",
        "[left out: text/html, too many elements]",
    ]
    assert kept[-2].text == "\x1b[31m<script>\x1b[0m ?? " + "x" * 100_000 or kept[-2].text.startswith(
        "\x1b[31m<script>"
    )
    assert kept[-1].traceback == ["\x1b[31m<img src=x onerror=alert(1)>\x1b[0m"]


def test_of_the_rest_of_a_notebook_only_what_nbgrader_needs_is_kept():
    odd = new_notebook(
        cells=[
            new_markdown_cell("<b>ours</b>"),
            new_markdown_cell("mine", attachments={"a.svg": {"image/svg+xml": "PHN2Zz4="}}),
            nbformat.v4.new_raw_cell("<script>alert(1)</script>", metadata={"raw_mimetype": "text/html"}),
            new_code_cell("display(HTML('<script>'))", metadata={"tags": ["<script>"], "alt": "<script>"}),
            new_code_cell("1", metadata={"nbgrader": {"grade_id": '"><script>', "grade": True, "points": 1}}),
            new_code_cell("1", metadata={"nbgrader": {"grade_id": "why", "grade": "<b>", "points": 1, "x": "<b>"}}),
            new_code_cell("1", metadata={"nbgrader": ["grade_id"]}),
        ],
        metadata={"widgets": {"application/vnd.jupyter.widget-state+json": {}}, "title": "<script>"},
    )
    odd.cells[1].id = '"><script>'
    before = json.dumps(odd)
    (kept,) = cleaned(odd)
    assert json.dumps(odd) == before
    ours, mine, raw, code, *others = kept.cells
    assert (ours.source, mine.source, code.source) == ("<b>ours</b>", "mine", "display(HTML('<script>'))")
    assert raw.cell_type == "markdown" and Page(raw.source).said == "<script>alert(1)</script>"
    assert raw.metadata.as_written == "<script>alert(1)</script>" and not any(map(len, (mine.metadata, code.metadata)))
    assert [c.metadata for c in others] == [{}, {"nbgrader": {"grade_id": "why", "points": 1}}, {}]
    assert set(kept.metadata) == {"kernelspec", "language_info"} and "script" not in mine.id + json.dumps(kept.metadata)
    nbformat.validate(kept)


def assignment():
    """Make an assignment of three tasks and 10 points."""
    tests = {"grade": True, "locked": True}
    hidden = "# More tests run here.\n### BEGIN HIDDEN TESTS\n{}\n### END HIDDEN TESTS"
    answer = "    ### BEGIN SOLUTION\n    return {}\n    ### END SOLUTION"
    told = "Twice three is six: what did you do with `x`? <b>{yours}</b>"
    return new_notebook(
        cells=[
            new_markdown_cell("# Assignment 0 · Numbers\n\nThree tasks."),
            new_markdown_cell("Before.\n\n## Task 1: double (4 points)\n\nWrite `double`, which *doubles*.\n\nMore."),
            cell(new_code_cell, "def double(x):\n" + answer.format("2 * x"), "double", solution=True),
            cell(new_code_cell, "assert double(1) == 2, 'twice 1 is 2'", "double_check", points=1, **tests),
            cell(
                new_code_cell,
                hidden.format(f"yours = double(3)\nassert yours == 6, f'{told}'"),
                "double_grade",
                points=3,
                **tests,
            ),
            new_markdown_cell("## Task 2: largest (3 points)\n\nWrite `largest`.\n\n```\n# no heading\n```"),
            cell(new_code_cell, "def largest(values):\n" + answer.format("max(values)"), "largest", solution=True),
            cell(new_code_cell, "assert largest([1, 2]) == 2", "largest_check", points=3, **tests),
            new_markdown_cell(
                "## Task 3: why? (3 points, read by your teacher)\n\nSay why: [a link](https://x.example)."
            ),
            cell(
                new_markdown_cell,
                "### BEGIN SOLUTION\n## Rubric\n### END SOLUTION",
                "why",
                solution=True,
                grade=True,
                points=3,
            ),
        ],
        metadata={"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    )


WHY = "Because a < b, x<y and <b>bold</b>:\n\n" + "\n\n".join(SHOWN + LINKS)
COMMENT = "Which <b>rule</b>?\n<img src=x onerror='window.ran=[400]'>"


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A class of four: one with everything planted, one half right, one untouched, one who handed in no notebook."""
    folder = tmp_path_factory.mktemp("feedback")
    (folder / "sources").mkdir()
    nbformat.write(assignment(), folder / "sources" / "numbers.ipynb")
    teach(folder, "release")
    release = folder / "class" / "release" / "numbers" / "numbers.ipynb"
    show = "".join(f"\n    publish_display_data({data!r})" for data in SHOWN_OUTPUTS)
    show += (
        f"\n    publish_display_data({{'image/png': {DOT!r}}}, metadata={{'image/png': {{'width': '1 onerror=x'}}}})"
    )
    show = f"def largest(values):\n    from IPython.display import publish_display_data{show}\n    return max(values)"
    class_ = {
        NAME: {"largest": show, "why": WHY},
        "anna": {"double": "def double(x):\n    return 2", "largest": "def largest(v):\n    return 1", "why": "So."},
        "untouched": {"double": None, "largest": None},
    }
    for name, answers in class_.items():
        notebook = nbformat.read(release, as_version=4)
        for task, text in ({"double": DOUBLE} | answers).items():
            find(notebook, task).source = text or find(notebook, task).source
        (folder / "handed in" / name).mkdir(parents=True)
        nbformat.write(notebook, folder / "handed in" / name / "numbers.ipynb")
    (folder / "handed in" / "numbers of nobody.ipynb").write_text("numbers")
    teach(folder, "grade", folder / "handed in")
    sheet = folder / "class" / "grades" / "numbers_answers.csv"
    lines = list(rows(sheet).values())
    for line in lines:
        line.update({"points": "2", "comment": COMMENT} if line["student"] == "anna" else {})
    with sheet.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)
    remarks = folder / "class" / "remarks" / "numbers" / "anna.json"
    asked = [
        "cell 7 could not be <b>stopped</b>",
        "another name is nearly the same: untouched. Is it?",
        "as untouched has it",
    ]
    remarks.write_text(json.dumps(json.loads(remarks.read_text()) + asked))
    teach(folder, "feedback")
    return folder


def page_of(folder, student):
    (page,) = (path for path in (folder / "class" / "feedback").glob("*/numbers/numbers.html") if student in str(path))
    return page.read_text(encoding="utf-8")


def test_the_teacher_reads_what_was_written_and_opens_what_runs_nothing(graded):
    answers = rows(graded / "class" / "grades" / "numbers_answers.csv")
    (eve,) = (student for student in answers if "img" in student)
    assert answers[eve]["answer"] == WHY.replace("\x01", "")
    (path,) = (graded / "class" / "autograded").glob("*img*/numbers/numbers.ipynb")
    notebook = nbformat.read(path, as_version=4)
    shown = find(notebook, "why").source
    assert_harmless(shown)
    assert "a &lt; b" in shown and "<b>bold</b>" in shown and "[left out: script]" in shown
    source = nbformat.read(graded / "sources" / "numbers.ipynb", as_version=4)
    ours = [c.source for c in source.cells if c.cell_type == "markdown" and not c.metadata.get("nbgrader")]
    assert [c.source for c in notebook.cells if c.source in ours] == ours
    for data in (o.data for c in notebook.cells for o in c.get("outputs", []) if "data" in o):
        assert set(data) <= {"text/plain", "text/html", "image/png"}
        assert_harmless(data.get("text/html", ""))


def test_a_page_says_what_was_asked_got_and_missed(graded):
    page = page_of(graded, "anna")
    said = " ".join(Page(page).said.split())
    assert "Test cell" not in page and "Assignment 0 · Numbers" in said
    assert "anna: 3 of 10 points" in said
    assert "Task 1: double Write double, which doubles. 1 of 4 ✓ the test that you had, 1 of 1" in said
    assert "✗ tests run when it was graded, 0 of 3: Twice three is six: what did you do with `x`? <b>2</b>" in said
    assert "Task 2: largest Write largest. 0 of 3 ✗ the test that you had, 0 of 3: assert largest([1, 2]) == 2" in said
    assert "Task 3: why? Say why: a link. 2 of 3 • read by your teacher, 2 of 3" in said
    assert f"Your teacher: {' '.join(COMMENT.split())}" in said
    assert "cell 7 could not be <b>stopped</b>" in said, "a remark on the student's own notebook"
    assert "Is it?" not in said and "as untouched" not in said, "others are nobody's business"
    assert '<a href="https://x.example">' in page, "the assignment's own links stay"
    anchors = {attributes["id"] for _, attributes in Page(page).elements if "id" in attributes}
    links = {attributes["href"] for tag, attributes in Page(page).elements if tag == "a"}
    assert {f"#{anchor}" for anchor in anchors} >= {link for link in links if link.startswith("#")} != set()


def test_a_page_needs_no_other_file_and_lets_nothing_run(graded):
    page = page_of(graded, "img")
    elements = Page(page).elements
    policy = next(a["content"] for tag, a in elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "img-src data:" in policy and "script" not in policy
    assert not {tag for tag, _ in elements} & {"script", "link", "iframe", "object", "base", "form"}
    assert [a["src"][:10] for tag, a in elements if tag == "img"] == ["data:image"]
    assert not re.search(r"url\(|@import", " ".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL)))
    assert NAME in Page(page).said


def test_an_untouched_submission_says_so_on_the_page_and_in_the_sheet(graded):
    marks = rows(graded / "class" / "grades" / "numbers.csv")
    assert marks["untouched"]["remarks"].startswith("handed in untouched")
    assert [name for name, row in marks.items() if "untouched:" in row["remarks"]] == ["untouched"]
    assert "This was handed in untouched" in page_of(graded, "untouched")
    assert "This was handed in untouched" not in page_of(graded, "anna")
    assert "nothing was written" in page_of(graded, "untouched")


def test_who_handed_in_no_notebook_has_a_page_that_says_why(graded):
    said = Page(page_of(graded, "nobody")).said
    assert "it is no notebook" in said and "0 of 10 points" in said and "There was no notebook" in said


def test_a_page_that_cannot_be_written_is_named_and_stops_no_other(graded, tmp_path):
    shutil.copytree(graded / "class", tmp_path / "class")
    pages = tmp_path / "class" / "feedback"
    shutil.rmtree(pages)
    pages.mkdir()
    (tmp_path / "outside").mkdir()
    (pages / "anna").symlink_to(tmp_path / "outside")  # taken away, and a page is written in its place
    (tmp_path / "class" / "autograded" / "untouched" / "numbers" / "numbers.ipynb").write_text("[")
    with pytest.raises(AssertionError, match=r"3 pages were written, and not these:\n *untouched, numbers: "):
        teach(tmp_path, "feedback")
    assert not list((tmp_path / "outside").iterdir()) and len(list(pages.glob("*/numbers/numbers.html"))) == 3


@pytest.fixture(scope="module")
def room(graded, tmp_path_factory):
    """Serve nbgrader's form grader on loopback, for the class; give its address."""
    room = tmp_path_factory.mktemp("form grader")
    shutil.copytree(ROOT / "tools", room / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "nbgrader_config.py", room)
    shutil.copytree(graded / "class", room / "class")
    plant(room / "class")
    folders = {f"JUPYTER_{name}_DIR": str(room / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [TEACH, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", "--IdentityProvider.token=course", "--ServerApp.allow_root=True"]
    command += [f"--ServerApp.root_dir={room}", "--LabApp.news_url=None"]
    with (room / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=room, env=os.environ | folders, stdout=log, stderr=log)
        try:
            for _ in range(3000):
                assert server.poll() is None, (room / "server.log").read_text()[-2000:]
                try:
                    urllib.request.urlopen(f"{address}/api/status?token=course", timeout=60).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield address
        finally:
            server.terminate()
            server.wait(60)


def plant(class_):
    """Put what a student wrote into the class as it is, as if no one had cleaned it, and as a name of nbgrader's."""
    path = class_ / "autograded" / "untouched" / "numbers" / "numbers.ipynb"
    notebook = nbformat.read(path, as_version=4)
    find(notebook, "why").source = WHY
    find(notebook, "largest").outputs = list(map(display, SHOWN_OUTPUTS))
    nbformat.write(notebook, path)
    code = (
        f"from nbgrader.api import Gradebook\nbook = Gradebook('sqlite:///{class_ / 'gradebook.db'}')\n"
        f"book.update_or_create_student('anna', first_name={NAME!r}, last_name={NAME!r})"
    )
    subprocess.run([TEACH, "-c", code], check=True, capture_output=True)


@pytest.fixture
def page(browser):  # noqa: F811
    """A page that notes what it asked of other computers, and what it said."""
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    asked = []
    context.route(
        re.compile(r"^https?://(?!127\.0\.0\.1[:/])"), lambda route: (asked.append(route.request.url), route.abort())
    )
    page = context.new_page()
    page.asked, page.dialogs = asked, []
    page.on("dialog", lambda dialog: (page.dialogs.append(dialog.message), dialog.dismiss()))
    yield page
    context.close()


def ran(page):
    """Return the numbers of what ran or asked, after some time and a click on whatever can be clicked in the cells."""
    page.wait_for_timeout(1000)
    numbers = set(page.evaluate("window.ran || []"))
    for link in page.locator("main a, .rendered_html a").all():
        if not (link.get_attribute("href") or "").startswith(("#", "https://x.example")):
            numbers.add(link.get_attribute("href"))
    return numbers | {address for address in page.asked if "mathjax" not in address} | set(page.dialogs)


def test_what_was_planted_runs_where_nobody_cleans_it(page, tmp_path):
    """Without this, a test that sees nothing run would say nothing."""
    number = {f"http://beacon.example/{n}": n for n in range(len(SHOWN))}
    seen = set()
    for payload in [*SHOWN, *(data["text/html"] for data in SHOWN_OUTPUTS if "text/html" in data)]:
        (tmp_path / "raw.html").write_text(f"<!DOCTYPE html><base href='http://127.0.0.1:9/'>{payload}")
        page.goto((tmp_path / "raw.html").as_uri(), wait_until="commit")
        page.wait_for_timeout(200)
        seen |= set(page.evaluate("window.ran || []"))
    seen |= {number[address] for address in page.asked if address in number}
    assert len(seen) >= 15


@pytest.mark.parametrize("student", ["img", "anna", "untouched", "nobody"])
def test_nothing_runs_on_a_page_of_feedback(student, graded, page):
    errors = []
    page.on("console", lambda message: errors.append(message.text))
    (path,) = (p for p in (graded / "class" / "feedback").glob("*/numbers/numbers.html") if student in str(p))
    page.goto(path.as_uri())
    assert ran(page) == set() and errors == []
    assert page.locator("h1").first.inner_text() == "Assignment 0 · Numbers"
    page.evaluate(
        "() => { const s = document.createElement('script'); s.text = 'window.ran = [1]'; document.body.append(s) }"
    )
    assert page.evaluate("window.ran || []") == [], "the policy of the page"


def test_nothing_runs_in_the_form_grader(room, page):
    page.goto(f"{room}/formgrader/manage_students?token=course")
    page.locator("#main-table a").first.wait_for()
    students = [link.get_attribute("href") for link in page.locator("#main-table td.name a").all()]
    assert len(students) == 4 and ran(page) == set()
    for address in students:
        page.goto(room + address)
        page.wait_for_load_state("networkidle")
        assert ran(page) == set()
    page.goto(f"{room}/formgrader/gradebook/numbers/numbers")
    page.locator("a.name-hidden").first.wait_for()
    page.locator("#toggle_names").click()
    page.locator("a.name-shown").first.wait_for()
    submissions = {
        link.inner_text(): link.get_attribute("href") for link in page.locator("#main-table a.name-shown").all()
    }
    assert len(submissions) == 3 and ran(page) == set()
    said = {}
    for name, address in submissions.items():
        page.goto(room + address)
        page.wait_for_load_state("networkidle")
        assert ran(page) == set()
        page.locator("span.name-hidden").first.click()
        assert name in page.locator("nav").inner_text()
        said[name] = page.locator("#notebook").first.inner_text()
        for field in ("double_check", "largest_check", "why"):  # the fields for marks are the form grader's own
            assert page.locator(f"#{field}").count() == 1 and page.locator(f"input#{field}").is_visible()
    assert sum("[left out: script]" in words for words in said.values()) == 2
    assert "[left out: JavaScript]" in said["untouched"] and "bold" in said["untouched"]
