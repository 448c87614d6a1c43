"""The explorer in a real browser: in JupyterLab, and as a page of its own through Voilà.

On a failure, what was to be seen at every step lies in build/browser/.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import free_port
from PIL import Image, ImageDraw
from playwright.sync_api import Error, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import chrome  # noqa: E402

NOTEBOOK = ROOT / "notebooks" / "05_query_explorer.ipynb"
SHOTS = ROOT / "build" / "browser"
TOKEN = "course"
LARGE_MESSAGES = re.search(r"LARGE_MESSAGES = (.*)", (ROOT / "Makefile").read_text())[1].replace('"', "")
expect.set_options(timeout=60_000)  # a limit for what hangs, however busy the machine is


@pytest.fixture(scope="module")
def browser():
    """Start Chromium or Chrome; without one, skip, or fail where CI should have installed it."""
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(**chrome.settings())
        except Error as error:
            reason = f"no Chromium or Chrome was found (apt-get install chromium): {str(error).splitlines()[0]}"
            pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
        yield started
        started.close()


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A folder with a copy of the notebook and settings of its own, so that nothing of anybody's is changed."""
    room = tmp_path_factory.mktemp("room")
    (room / "notebooks").mkdir()
    shutil.copy(NOTEBOOK, room / "notebooks")
    settings = room / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"fetchNews": "false"}')  # else a question about news covers the page
    return room


@contextmanager
def serving(room, command, address):
    """Run a server until it is no longer needed; `address` is asked until it answers."""
    folders = {
        "JUPYTERLAB_SETTINGS_DIR": room / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": room / "workspaces",
        "JUPYTER_CONFIG_DIR": room / "config",
        "JUPYTER_DATA_DIR": room / "data",
        "JUPYTER_RUNTIME_DIR": room / "runtime",
        "IPYTHONDIR": room / "ipython",
        "PYTHONPATH": ROOT,
    }
    log = (room / "server.log").open("w+")
    server = subprocess.Popen(
        [sys.executable, *command], cwd=room, env=os.environ | {name: str(p) for name, p in folders.items()},
        stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        for _ in range(3000):
            if server.poll() is not None:
                pytest.fail(f"the server stopped: {(room / 'server.log').read_text()[-2000:]}")
            try:
                urllib.request.urlopen(address, timeout=60).close()
                break
            except OSError:
                time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait(60)
        log.close()


@contextmanager
def open_page(browser, address, name):
    """Open a page; keep a picture of every step if something fails; no error may be written to its console."""
    for old in SHOTS.glob(f"{name}-*.png"):
        old.unlink()
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    errors, shots, elsewhere = [], [], []
    context.route(re.compile(r"^https?://(?!127\.0\.0\.1[:/])"), lambda route: ask_nobody(route, elsewhere))
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        page.goto(address, wait_until="commit")  # Voilà's page is complete only when all cells have run
        yield page, lambda step: shots.append((step, page.screenshot()))
        assert errors == []
        # Voilà's own template asks for fonts and formulas, and does without
        assert name.startswith("voila") or elsewhere == []
    except BaseException:
        shots.append(("failed", page.screenshot()))
        SHOTS.mkdir(parents=True, exist_ok=True)
        for number, (step, shot) in enumerate(shots):
            (SHOTS / f"{name}-{number:02d}-{step}.png").write_bytes(shot)
        raise
    finally:
        context.close()


def ask_nobody(route, elsewhere):
    """Answer a request to another computer with nothing, and remember it."""
    elsewhere.append(route.request.url)
    route.fulfill(status=200, body="")


@pytest.fixture(scope="module")
def lab(room):
    """Serve JupyterLab on loopback; give the address of the notebook."""
    port = free_port()
    command = [
        "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={room / 'notebooks'}",
        "--ServerApp.allow_root=True", f"--ServerApp.{LARGE_MESSAGES}",
        "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
    ]  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    with serving(room, command, f"{address}/api/status?token={TOKEN}"):
        yield f"{address}/doc/tree/{NOTEBOOK.name}?token={TOKEN}"


def run_all(page: Page):
    """Run all cells and wait for the last one; return the notebook as the browser holds it then."""
    expect(page.locator(".jp-Notebook .jp-Cell").first).to_be_visible()
    page.wait_for_function("() => window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel")
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    cells = "window.jupyterapp.shell.currentWidget.content.model.toJSON().cells.filter(c => c.cell_type == 'code')"
    count = len([cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if "outputs" in cell])
    page.wait_for_function(f"() => {cells}.at(-1).execution_count == {count}", timeout=600_000)
    return page.evaluate(f"() => {cells}")


def test_the_explorer_in_jupyterlab(browser, lab, tmp_path):
    with open_page(browser, lab, "lab") as (page, step):
        cells = run_all(page)
        kinds = [output["output_type"] for cell in cells for output in cell["outputs"]]
        assert "error" not in kinds
        explorer = page.locator(".jp-Cell-outputArea .query-explorer").first
        explorer.scroll_into_view_if_needed()
        use_the_explorer(page, explorer, step, tmp_path)
        use_the_keyboard(page, explorer)
        said = " ".join(page.locator(".jp-OutputArea-output").all_inner_texts())
        assert "QueryExplorer(" not in said and "Query explorer. Query" not in said and "widget" not in said


def use_the_explorer(page, explorer, step, tmp_path):
    """Do everything that a reader can do with it, and look at what is seen."""
    query, status, results = (explorer.locator(css) for css in (".qx-query", ".qx-say", "table.qx-results"))
    step("ready")

    explorer.get_by_label("Pictures of").select_option("windmill")
    expect(explorer.locator(".qx-pick").first).to_have_text("windmill")
    explorer.locator(".qx-pick").first.click()
    expect(query).to_contain_text("windmill, windmill_")
    expect(query.locator("img")).to_have_attribute("alt", re.compile("^Query: windmill"))
    expect(results.first).to_contain_text("✓ right")
    expect(results.first).to_contain_text("P@5 = ")
    step("picked")

    picture = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(picture).ellipse((60, 10, 240, 190), fill="orange")
    for form in ("png", "webp"):
        picture.save(tmp_path / f"mine.{form}")
        upload(page, explorer, tmp_path / f"mine.{form}")
        expect(query).to_contain_text(f"mine.{form} (uploaded)")
        expect(results.first).to_contain_text("nothing is marked right or wrong")
    step("uploaded")
    (tmp_path / "notes.txt").write_text("not a picture")
    upload(page, explorer, tmp_path / "notes.txt")
    expect(explorer.get_by_role("alert")).to_contain_text("notes.txt is not a picture")
    (tmp_path / "film.jpg").write_bytes(bytes(12_000_000))
    upload(page, explorer, tmp_path / "film.jpg")
    expect(explorer.get_by_role("alert")).to_contain_text("film.jpg is too large (12 MB)")
    step("no-pictures")

    text = explorer.get_by_label("Text")
    text.fill("a castle")
    text.press("Enter")
    expect(query).to_have_text("Query: “a castle”.")
    expect(results.first.locator("img").first).to_have_attribute("alt", re.compile("^Result 1: castle"))
    step("text")

    explorer.get_by_label("Method").select_option("pixels")
    expect(explorer.get_by_role("alert")).to_contain_text("Pixels cannot be compared with words")
    expect(text).to_be_disabled()
    expect(explorer.locator(".qx-note", has_text="Text is off")).to_be_visible()
    step("pixels")
    explorer.locator(".qx-pick").nth(1).click()
    expect(results.first).to_contain_text("pixels, cosine")
    expect(status).to_contain_text("Found 5 pictures")
    explorer.get_by_label("Metric", exact=True).select_option("l1")
    expect(results.first).to_contain_text("pixels, l1")

    explorer.get_by_label("Beside it").select_option("CLIP")
    expect(results).to_have_count(2)
    expect(status).to_contain_text("The two methods share")
    explorer.get_by_label("Method").select_option("ChromaDB")
    expect(results.nth(0)).to_contain_text("ChromaDB, cosine")
    explorer.get_by_label("Its metric").select_option("cosine")
    expect(results.nth(1)).to_contain_text("CLIP, cosine")
    expect(results.nth(1).locator(".qx-both")).to_have_count(5)
    step("side-by-side")

    before = query.inner_text()
    second = results.nth(0).locator("img").nth(1).get_attribute("alt").removeprefix("Result 2: ")
    explorer.get_by_role("button", name="More like 2").first.click()
    expect(query).to_contain_text(second)
    expect(query).to_contain_text("left out of its own results")
    step("more-like")
    explorer.get_by_role("button", name="Back").click()
    expect(query).to_have_text(before)

    explorer.get_by_label("Only class").select_option("tower")
    expect(results.first.locator("td.qx-wrong")).to_have_count(5)
    k = explorer.get_by_label("k", exact=True)
    k.fill("7")
    k.press("Enter")
    expect(results.first.locator("td.qx-wrong")).to_have_count(7)
    upload(page, explorer, tmp_path / "notes.txt")
    expect(status).to_contain_text("notes.txt is not a picture")
    explorer.get_by_role("button", name="Surprise me").click()
    expect(status).to_contain_text("Found 7 pictures")
    step("end")


def upload(page, explorer, path):
    with page.expect_file_chooser() as chooser:
        explorer.get_by_role("button", name="Upload a picture").click()
    chooser.value.set_files(path)


def use_the_keyboard(page, explorer):
    """Everything can be reached with Tab and used with Enter, and focus is seen."""
    explorer.get_by_label("Pictures of").focus()
    page.keyboard.press("Tab")  # past "Previous", which is off, and the strip comes after "Surprise me"
    page.keyboard.press("Tab")
    picked = explorer.locator(".qx-pick").nth(1)
    picked.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    expect(picked).to_be_focused()
    assert picked.evaluate("button => getComputedStyle(button).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(picked).to_have_class(re.compile("qx-chosen"))
    more = explorer.get_by_role("button", name="More like 1", exact=True).first
    more.focus()
    page.keyboard.press("Space")
    expect(explorer.locator(".qx-query")).to_contain_text("left out of its own results")


def test_the_explorer_as_a_page_of_its_own(browser, room, tmp_path):
    port = free_port()
    command = [ROOT / "tools" / "serve.py", f"notebooks/{NOTEBOOK.name}", "--no-browser", f"--port={port}"]
    address = f"http://127.0.0.1:{port}"
    with (
        serving(room, command, f"{address}/voila/static/voila.js"),
        open_page(browser, address, "voila") as (page, step),
        open_page(browser, address, "voila-2") as (other, _),
    ):
        explorers = [one.locator(".query-explorer", has=one.locator(".qx-strip")).first for one in (page, other)]
        for one, explorer in zip((page, other), explorers, strict=True):
            expect(explorer.locator(".qx-pick").first).to_be_visible(timeout=600_000)
            expect(one.locator(".jp-InputArea-editor")).to_have_count(0)
            expect(one.locator("body")).not_to_contain_text(re.compile("not found|Loading widget|Encoding|Indexing"))
        use_the_explorer(page, explorers[0], step, tmp_path)
        # what one visitor does, another does not see
        expect(explorers[1].locator(".qx-query")).to_contain_text("airplane")
        explorers[1].locator(".qx-pick").nth(2).click()
        expect(explorers[1].locator(".qx-query")).to_contain_text("ball")
