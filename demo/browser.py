"""A browser that plays a phone: what tests and `attar.demo.bench` drive the app with.

Chromium with a phone's profile, by Playwright; both are needs of these alone, not of making an app.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import AttarError

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PROFILE, PATIENCE = "Pixel 7", 120_000  # milliseconds; a busy machine is no reason to fail
READY = "html[data-ready]"
# Until a service worker keeps the app; Playwright's own way of waiting is refused by the page's policy.
KEPT = """(async () => {
  while (!navigator.serviceWorker.controller) await new Promise((done) => setTimeout(done, 30));
})()"""
# Another worker than the page's own, with the model open: `engine`.
ENGINE = """
if (!globalThis.engine) {
  const { Engine } = await import("./engine.js");
  globalThis.engine = new Engine();
  await engine.call("load");
}
"""


@contextmanager
def started() -> Iterator[tuple[Any, Any]]:
    """Chromium and the profile's settings."""
    where = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise AttarError("playwright is not installed", fix="pip install playwright") from None
    if where is None:
        raise AttarError("no Chromium is here", fix="install your system's package chromium")
    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=where, args=list(ARGUMENTS))
        yield found, driver.devices[PROFILE]
        found.close()


def run(page: Any, code: str, words: Any = None) -> Any:
    """What lines of JavaScript `return` in the page; `words` is there by that name."""
    return page.evaluate(f"async (words) => {{ {code} }}", words)
