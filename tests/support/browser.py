"""A real browser without a window, where there is one."""

import shutil
import subprocess

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no chromium here (apt-get install chromium)"
)


def browser(folder, *words):
    """What the browser writes to stdout; its profile lies in the folder."""
    return subprocess.run(
        [BROWSER, *QUIET, f"--user-data-dir={folder / 'profile'}", *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
