"""The Chromium or Chrome of this machine, for Playwright: which program to start, and how."""

import shutil

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


def settings() -> dict:
    """Return the arguments of Playwright's ``chromium.launch``, which raises its Error where there is no browser."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    return {"args": QUIET} | ({"executable_path": program} if program else {"channel": "chrome"})
