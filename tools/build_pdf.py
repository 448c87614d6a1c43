"""Print the lessons of build/site into build/pdf: one PDF per lesson, its answers unfolded.

`make pdf` builds the site first. Chromium or Chrome does the printing.
"""

import sys
from pathlib import Path

import chrome
from playwright.sync_api import Error, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
FOOT = """<div style="width: 100%; font: 7px sans-serif; text-align: center">
<span class="title"></span> · <span class="pageNumber"></span> / <span class="totalPages"></span><br>
Code and text: MIT. The authors and licences of the pictures are in the course's data/SOURCES.csv.</div>"""


def main() -> None:
    """Print every lesson of build/site, and say how large each PDF is."""
    lessons = sorted((ROOT / "build" / "site" / "notebooks").glob("*.html"))
    if not lessons:
        sys.exit("There is no site to print: `make site` builds it, and `make pdf` does both.")
    target = ROOT / "build" / "pdf"
    target.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(**chrome.settings())
        except Error as error:
            sys.exit(f"No Chromium or Chrome was found: {str(error).splitlines()[0]}")
        page = browser.new_page()
        for lesson in lessons:
            page.goto(lesson.as_uri())
            page.evaluate("window.MathJax?.startup.promise")
            margin = dict.fromkeys(("top", "bottom", "left", "right"), "15mm")
            path = target / lesson.with_suffix(".pdf").name
            page.pdf(
                path=path, format="A4", scale=0.75, margin=margin, outline=True, tagged=True,
                display_header_footer=True, header_template="<span></span>", footer_template=FOOT,
            )  # fmt: skip
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
        browser.close()


if __name__ == "__main__":
    main()
