"""Makes docs/report.png, the README's picture: `python docs/make_picture.py`, with Chromium installed.

The top of the quickstart's report, down to the end of the leaderboard.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parent
WIDTH = 1280


def main() -> None:
    """Runs the quickstart in a folder of its own and photographs its report."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as browsers:
        environment = {**os.environ, "PYTHONPATH": str(DOCS.parent)}
        command = [sys.executable, "-m", "arena", "run"]
        done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        report = Path(folder, done.stdout.strip().split("\n")[-1])
        browser = browsers.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 3000}, color_scheme="light")
        page.goto(report.as_uri())
        end = page.locator("table.results").first.bounding_box()
        assert end is not None
        height = end["y"] + end["height"]
        page.screenshot(path=DOCS / "report.png", clip={"x": 0, "y": 20, "width": WIDTH, "height": height})
        browser.close()


if __name__ == "__main__":
    main()
