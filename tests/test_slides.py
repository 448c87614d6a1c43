"""The slides: what stands on them stands in the lesson, and each fits on the screen, in a real browser."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from conftest import SITE_PYTHON
from test_browser import browser  # noqa: F401 (a fixture)

ROOT = Path(__file__).resolve().parent.parent
DECKS = sorted((ROOT / "docs" / "slides").glob("0*.md"))
every_deck = pytest.mark.parametrize("deck", DECKS, ids=lambda deck: deck.stem)
NOTES = re.compile(r"^:::\{revealjs-notes\}\n(.*?)^:::$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"^```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"\d+(?:,\d{3})+|\d+\.\d+|\d{3,}")


def build(to, *decks):
    code = "import sys, pathlib, slides; slides.build(*map(pathlib.Path, sys.argv[1:]))"
    command = [str(SITE_PYTHON), "-X", "utf8", "-c", code, str(to), f"{to}-work", *map(str, decks)]
    return subprocess.run(command, cwd=ROOT / "tools", capture_output=True, encoding="utf-8")


def lesson_text(deck):
    """All that a reader of the lesson can see: the text, the code, what cells print, and the figures' descriptions."""
    cells = json.loads((ROOT / "notebooks" / f"{deck.stem}.ipynb").read_text(encoding="utf-8"))["cells"]
    seen = ["".join(cell["source"]) for cell in cells]
    for output in (output for cell in cells for output in cell.get("outputs", ())):
        shown = "".join(output.get("data", {}).get("text/html", ""))
        seen += ["".join(output.get("text", "")), *map(unescape, re.findall(r'alt="([^"]*)"', shown))]
        seen += [re.sub(r"<[^>]*>", " ", shown)]
    return "\n".join(seen)


def slides_of(text):
    """The slides without their notes, code and tags of HTML, each from its heading on."""
    words = re.sub(r"<[^>]*>", "", NOTES.sub("", CODE.sub("", text)))
    return re.split(r"^(?=#+ )", words, flags=re.MULTILINE)[1:]


def strange(numbers, text):
    """Return those of the numbers that do not stand in the text."""
    return [n for n in numbers if not re.search(rf"(?<![\d.,]){re.escape(n)}(?!\d)", text)]


def test_every_lesson_has_a_deck():
    assert [deck.stem for deck in DECKS] == sorted(path.stem for path in (ROOT / "notebooks").glob("0*.ipynb"))


@every_deck
def test_a_deck_has_twelve_to_fifteen_slides_with_notes_and_few_words(deck):
    text = deck.read_text(encoding="utf-8")
    slides = slides_of(text)
    assert 12 <= len(slides) <= 15
    assert [slide.split(" ")[0] for slide in slides] == ["#"] + ["##"] * (len(slides) - 1)
    notes = NOTES.findall(text)
    assert len(notes) == len(slides)
    assert [note for note in notes if not re.match(r"\d+ minutes?\b", note)] == []
    without = re.compile(r"\$\$.*?\$\$|!\[\].*?\)", re.DOTALL)  # formulas and figures
    words = {slide.splitlines()[0]: len(re.findall(r"[^\W\d_]{2,}", without.sub("", slide))) for slide in slides}
    assert {title: count for title, count in words.items() if count > 50} == {}


@every_deck
def test_numbers_and_code_on_slides_stand_in_the_lesson(deck):
    text, lesson = deck.read_text(encoding="utf-8"), lesson_text(deck)
    on_slides = NUMBER.findall(re.sub(r"figure:.*", "", "".join(slides_of(text))))
    assert strange(on_slides, lesson) == []
    for code in CODE.findall(text):
        assert len(code.splitlines()) <= 6
        assert [line for line in code.splitlines() if line.strip() not in lesson] == []


def test_a_number_that_the_lesson_does_not_have_is_found():
    assert strange(["0.35", "0.3", "3160", "1,200"], "0.35 [0.27, 0.44], 3160.0, 11,200") == ["0.3", "1,200"]


@pytest.mark.parametrize(("link", "there"), [("no-such-heading", "the-pictures/2"), ("the-pictures/3", "the-pictures")])
def test_a_figure_that_is_not_there_is_named(tmp_path, link, there):
    (tmp_path / "decks").mkdir()
    (tmp_path / "decks" / "00_start_here.md").write_text(f"# Title\n\n![](figure:{link})\n", encoding="utf-8")
    done = build(tmp_path / "slides", tmp_path / "decks")
    assert done.returncode != 0
    assert "00_start_here.md, line 3" in done.stderr
    assert f"no figure “{link}”" in done.stderr
    assert there in done.stderr.split("It has: ")[1]
    assert "Traceback" not in done.stderr


def test_a_description_with_marks_of_markdown_is_kept(tmp_path):
    """Descriptions have brackets, quotes, signs of dollars and what else Markdown reads as a mark."""
    (tmp_path / "decks").mkdir()
    deck = tmp_path / "decks" / "01_pixel_metrics.md"
    deck.write_text("# Title\n\n![](figure:the-scoreboard)\n", encoding="utf-8")
    shutil.copy(ROOT / "docs" / "slides" / "index.md", tmp_path / "decks")
    done = build(tmp_path / "slides", tmp_path / "decks")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "slides" / "01_pixel_metrics.html").read_text(encoding="utf-8")
    alt = unescape(re.search(r'<img alt="([^"]*)"', page)[1])
    assert alt.startswith("Dots with 95 % intervals. random: P@1 0.02 [0.00, 0.06]")
    assert alt in lesson_text(deck)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "slides"
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_slides_are_small_and_the_same_from_run_to_run(built, tmp_path):
    assert build(tmp_path / "slides").returncode == 0
    once, again = ({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
                   for folder in (built, tmp_path / "slides"))  # fmt: skip
    assert [str(name) for name in once if once[name] != again.get(name)] == []
    assert once.keys() == again.keys()
    assert sum(map(len, once.values())) < 15_000_000


@pytest.fixture(scope="module")
def page(browser):  # noqa: F811
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    yield page
    page.close()


MEASURE = """() => {
    const slide = Reveal.getCurrentSlide(), room = slide.getBoundingClientRect();
    const out = [...slide.querySelectorAll('*:not(.notes)')].filter(e => e.checkVisibility()).filter(e => {
        const box = e.getBoundingClientRect();
        return box.right > room.right + 1 || box.bottom > room.bottom + 1 || box.left < room.left - 1;
    }).map(e => e.tagName);
    const figures = [...slide.querySelectorAll('img')].map(e =>
        [e.alt, Math.min(e.clientWidth / e.naturalWidth, e.clientHeight / e.naturalHeight)]);
    return {out, figures, wide: slide.scrollHeight > 720 || slide.scrollWidth > 1280};
}"""


@every_deck
def test_a_slide_fits_its_figures_are_large_and_no_request_leaves_the_folder(built, page, deck):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((built / f"{deck.stem}.html").as_uri())
    page.wait_for_function("window.Reveal && Reveal.isReady() && [...document.images].every(i => i.naturalWidth)")
    if page.query_selector("div.math, span.math"):
        page.wait_for_selector("mjx-container", state="attached")
    links = re.findall(r"^!\[\]\(figure:", deck.read_text(encoding="utf-8"), re.MULTILINE)
    figures = []
    for number in range(page.evaluate("Reveal.getTotalSlides()")):
        page.evaluate(f"Reveal.slide({number})")
        seen = page.evaluate(MEASURE)
        assert (number, seen["out"], seen["wide"]) == (number, [], False)
        figures += seen["figures"]
    assert len(figures) == len(links)
    assert [alt for alt, scale in figures if len(alt) < 8 or scale < 0.6] == []
    folder = built.as_uri()
    assert [url for url in asked if not url.startswith((folder, "data:"))] == []


@every_deck
def test_a_deck_prints_one_slide_to_a_page_with_all_that_is_on_it(built, page, deck):
    page.goto((built / f"{deck.stem}.html").as_uri() + "?print-pdf")
    page.wait_for_selector(".pdf-page")
    pages = page.locator(".pdf-page")
    over = """page => {
        const bottom = page.getBoundingClientRect().bottom + 1;
        const all = [...page.querySelectorAll('section *:not(.notes)')];
        return all.filter(e => e.checkVisibility() && e.getBoundingClientRect().bottom > bottom).map(e => e.outerHTML);
    }"""
    assert [out for one in pages.element_handles() for out in one.evaluate(over)] == []
    assert pages.count() == len(slides_of(deck.read_text(encoding="utf-8")))
