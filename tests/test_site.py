"""The website: the whole course, nothing of the assignments, links that lead somewhere, no network, every reader."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import SITE_PYTHON
from test_browser import browser  # noqa: F401 (a fixture)

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
sys.path.insert(0, str(ROOT / "tools"))
import build_site  # noqa: E402


def built(folder, repository):
    code = "import sys, pathlib, build_site; build_site.build(*map(pathlib.Path, sys.argv[1:3]), sys.argv[3])"
    command = [str(SITE_PYTHON), "-c", code, str(folder / "site"), str(folder / "work"), repository]
    ran = subprocess.run(command, cwd=ROOT / "tools", capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr  # Sphinx takes a warning for an error
    return folder / "site"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return built(tmp_path_factory.mktemp("site"), "")


@pytest.fixture(scope="module")
def pages(site):
    """All pages but the slides, which tests/test_slides.py looks at."""
    paths = {path.relative_to(site): path for path in site.rglob("*.html")}
    return {name.as_posix(): page_at(path) for name, path in paths.items() if name.parts[0] != "slides"}


class Page(HTMLParser):
    """The text of a page, its links, its anchors, the descriptions of its pictures, and how many folds it has."""

    def __init__(self, html, path=None):
        super().__init__()
        self.path, self.text, self.links, self.anchors, self.described, self.folds = path, "", [], {""}, [], 0
        self.feed(html)

    def handle_data(self, data):
        self.text += data

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs.get("id", ""), attrs.get("name", "")}
        self.folds += tag == "details"
        self.links += [attrs[name] for name in ("href", "src") if attrs.get(name)]
        if tag == "img":
            self.described.append(attrs.get("alt", ""))


def page_at(path):
    return Page(path.read_text(encoding="utf-8"), path)


def dead(pages, site):
    """List the links of the pages that lead to no file or anchor of the site."""
    found = []
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                found += [f"{name}: {link}"] * (parts.scheme not in ("http", "https", "data", "mailto"))
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            there = target.relative_to(site.resolve()).as_posix() if target.is_relative_to(site.resolve()) else None
            if there is None or not target.is_file():
                found.append(f"{name}: {link}")
            elif there in pages and unquote(parts.fragment) not in pages[there].anchors:
                found.append(f"{name}: {link} (no such heading)")
    return found


def test_all_lessons_are_there_with_every_figure_described_and_every_answer_folded(pages):
    for lesson in LESSONS:
        cells = nbformat.read(lesson, as_version=4).cells
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        figures = Page("".join(output.get("data", {}).get("text/html", "") for output in outputs))
        page = pages[f"notebooks/{lesson.stem}.html"]
        assert figures.described and set(figures.described) <= set(page.described)
        assert all(len(alt) > 8 for alt in page.described)
        assert page.folds >= sum(cell.source.count("<details>") for cell in cells if cell.cell_type == "markdown") > 0


def test_each_lesson_leads_to_the_one_before_and_the_one_after_and_can_be_downloaded(pages, site):
    order = [f"notebooks/{lesson.stem}.html" for lesson in LESSONS]
    for number, name in enumerate(order):
        links = {(Path(name).parent / urlsplit(link).path).as_posix() for link in pages[name].links}
        links = {os.path.normpath(link) for link in links}
        assert {order[n] for n in (number - 1, number + 1) if 0 <= n < len(order)} <= links
        source = json.loads((site / "_sources" / name).with_suffix(".ipynb").read_text(encoding="utf-8"))
        assert f"_sources/{Path(name).with_suffix('.ipynb').as_posix()}" in links
        assert not any(cell.get("outputs") for cell in source["cells"])  # they would give predictions away


def bare(text):
    """Return the lines of a text without indents and without those that are empty."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def secrets(path):
    """Return what no student may see of an assignment, three lines at a time: its solutions and its hidden tests."""
    found = set()
    for cell in nbformat.read(path, as_version=4).cells:
        for hidden in re.findall(r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)\s*### END", cell.source, re.DOTALL):
            lines = bare(hidden)
            found |= {"\n".join(lines[n : n + 3]) for n in range(max(1, len(lines) - 2))}
    return {lines for lines in found if len(lines) > 30}


def everything_on(site):
    """Return all text of the site: its pages as they are read, and its downloads, notebooks cell by cell."""
    for path in site.rglob("*"):
        if path.suffix == ".html":
            page = page_at(path)
            yield "\n".join([page.text, *page.described])
        elif path.suffix == ".ipynb":
            yield from (cell.source for cell in nbformat.read(path, as_version=4).cells)
        elif path.is_file():
            yield path.read_text(encoding="utf-8", errors="replace")


def test_nothing_of_an_assignment_is_on_the_site_or_in_its_downloads(site):
    shown = "\n".join(bare("\n".join(everything_on(site))))
    assert "gallery, queries = images.load_pictures()" in shown  # code is found at all
    for path in (ROOT / "notebooks" / "assignments").glob("*.ipynb"):
        hidden = secrets(path)
        assert len(hidden) > 20
        assert [lines for lines in hidden if lines in shown] == []
    assert not re.search(r"### BEGIN (SOLUTION|HIDDEN)", shown)
    assert not list(site.rglob("*assignments*"))


def test_no_link_of_the_site_is_dead(pages, site):
    assert dead(pages, site) == []
    assert sum(len(page.links) for page in pages.values()) > 500


def test_a_dead_link_is_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="x"></p><a href="#x"></a><a href="#y"></a><a href="b.html"></a><a href="nowhere:"></a>'
    )
    pages = {"a.html": page_at(tmp_path / "a.html")}
    assert dead(pages, tmp_path) == ["a.html: #y (no such heading)", "a.html: b.html", "a.html: nowhere:"]


def test_the_site_stays_small(site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 35e6


def test_with_an_address_every_lesson_can_be_run_elsewhere_and_without_one_nothing_leads_there(pages, tmp_path):
    anywhere = ("colab.research.google.com", "mybinder.org", "github.com/anne")
    site = built(tmp_path, "https://github.com/anne/course")
    for lesson in LESSONS:
        name = f"notebooks/{lesson.stem}.html"
        links = page_at(site / name).links
        assert f"https://colab.research.google.com/github/anne/course/blob/main/notebooks/{lesson.name}" in links
        assert not [link for link in pages[name].links if any(place in link for place in anywhere)]
    linked = page_at(site / "notebooks/04_index_you_can_trust.html").links
    assert "https://github.com/anne/course/blob/main/helpers/store.py" in linked


@pytest.mark.parametrize(
    "text, on_site, elsewhere",
    [
        ("[a](02_b.ipynb#My-Heading)", "[a](02_b.ipynb#my-heading)", None),
        ("[a](#My-Heading)", "[a](#my-heading)", None),
        ("[a](../README.md#start)", "[a](../docs/install.md#start)", None),
        ("`m[i](rows)` and\n```\nM[i](q, g)\n```\n", "`m[i](rows)` and\n```\nM[i](q, g)\n```\n", None),
        ('[a](../c.py#L12 "t")', "a", '[a](https://g.it/a/b/blob/main/c.py#L12 "t")'),
        ("[a](../docs/x.md#y)", "[a](../docs/x.md#y)", None),
        ('<a href="02_b.ipynb">b</a>', '<a href="02_b.ipynb">b</a>', None),
        ("see [`c`](../helpers/c.py), too", "see `c`, too", "see [`c`](https://g.it/a/b/blob/main/helpers/c.py), too"),
        ("[web](https://x.org/a#B), [m](mailto:a@b.c)", "[web](https://x.org/a#B), [m](mailto:a@b.c)", None),
    ],
)
def test_links_lead_to_pages_of_the_site_or_to_the_repository_or_are_words(text, on_site, elsewhere):
    pages = {"notebooks/02_b.ipynb", "docs/x.md", "docs/install.md"}
    page = Path("notebooks/01_a.ipynb")
    assert build_site.relinked(text, page, pages.__contains__, "") == on_site
    assert build_site.relinked(text, page, pages.__contains__, "https://g.it/a/b") == (elsewhere or on_site)


# in the dark, nothing but colours differs
@pytest.mark.parametrize("scheme, rules", [("light", {}), ("dark", {"runOnly": ["color-contrast"]})])
def test_no_page_asks_the_network_or_shuts_a_reader_out(browser, pages, site, scheme, rules):  # noqa: F811
    wrong, asked = [], []
    with browser.new_context(color_scheme=scheme) as context:
        context.on("request", lambda request: asked.append(urlsplit(request.url).scheme))
        context.on("weberror", lambda error: wrong.append(f"{error.page.url}: {error.error}"))
        for name in pages:
            page = context.new_page()
            page.goto((site / name).as_uri())
            page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
            found = Axe().run(page, options={"preload": False} | rules).response["violations"]
            wrong += [f"{name}: {rule['id']}" for rule in found if rule["impact"] in ("serious", "critical")]
            page.close()
    assert wrong == []
    assert set(asked) <= {"file", "data"}


def test_no_page_is_wider_than_a_phone(browser, pages, site):  # noqa: F811
    with browser.new_context(viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        for name in pages:
            page.goto((site / name).as_uri())
            page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
            assert (name, page.evaluate("document.documentElement.scrollWidth")) == (name, 390)


def test_the_menu_opens_on_a_phone(browser, site):  # noqa: F811
    with browser.new_context(viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.goto((site / "notebooks/00_start_here.html").as_uri())
        page.locator(".primary-toggle:visible").click()
        page.locator("dialog[open]").get_by_role("link", name="1 · Pixel metrics").click()
        page.wait_for_url("**/01_pixel_metrics.html")


def test_formulas_are_drawn_and_can_be_heard(browser, site):  # noqa: F811
    page = browser.new_page()
    page.goto((site / "notebooks/01_pixel_metrics.html").as_uri())
    page.wait_for_selector("mjx-container svg")
    formulas = nbformat.read(ROOT / "notebooks/01_pixel_metrics.ipynb", as_version=4)
    written = sum(cell.source.count("$$") // 2 for cell in formulas.cells if cell.cell_type == "markdown")
    assert page.locator("mjx-container[display=true] svg").count() == written > 3
    assert page.locator("mjx-container[display=true] mjx-assistive-mml math").count() == written
    page.close()


def test_the_search_works_from_a_folder(browser, site):  # noqa: F811
    page = browser.new_page()
    page.goto((site / "search.html").as_uri() + "?q=correlation")
    page.wait_for_selector("#search-results li")
    assert "Pixel metrics" in page.locator("#search-results").inner_text()
    page.close()
