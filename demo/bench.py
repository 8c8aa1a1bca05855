"""Build the app of a bundle, use it as a person would, and keep what was seen.

    python -m attar.demo.bench BUNDLE --out docs/app/NAME.json [--pictures docs/app] [--apk]

- A visit counts as ready from the moment the browser is told to go there, not from the page's first line of code.
- Keys are typed one by one, slower than the model answers, so that each gets its answer.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shlex
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from .. import __version__
from ..benchmarks.machine import describe
from ..errors import AttarError, UsageError
from ..export import bundle as bundles
from ..export import manifest as manifests
from ..files import write_bytes, write_json
from . import apk, apk_key, apk_tools, browser, checks, site, strings
from .serve import running
from .shown import Package, Shown, Typing, Wire, table

PACE = 120  # milliseconds from key to key
# When the page said that it is ready, in milliseconds since the visit began.
WATCH = """
new MutationObserver((_, watch) => {
  if (!document.documentElement?.dataset.ready) return;
  watch.disconnect();
  globalThis.readyAt = performance.now();
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-ready"] });
"""
# From a key to the end of the frame after the answer was drawn; the footnote changes with every answer.
TYPE = """
globalThis.seen = { ms: [], shifts: 0, frames: [] };
let began = null;
document.querySelector("textarea").addEventListener("input", (event) => {
  began = event.data ? performance.now() : null; // no data where the field is emptied
}, { capture: true });
new MutationObserver(() => {
  if (began === null) return;
  const start = began;
  began = null;
  requestAnimationFrame(() => setTimeout(() => seen.ms.push(performance.now() - start)));
}).observe(document.querySelector(".footnote"), { childList: true, characterData: true, subtree: true });
const watch = (type, each) => new PerformanceObserver((found) => found.getEntries().forEach(each)).observe({ type });
watch("layout-shift", (one) => { seen.shifts += one.value; });
watch("long-animation-frame", (one) => { if (one.duration > 50) seen.frames.push(one.duration); });
"""
GOLDEN = 'return await engine.call("golden", {});'


class Amount(NamedTuple):
    """How much is looked at."""

    visits: int = 15  # from the browser's cache, after the first
    sentences: int = 6  # golden examples that are typed
    strings: int = 1000  # texts that are read here and there


def measure(bundle: Path, amount: Amount, pictures: Path | None, with_package: bool) -> Shown:
    """Everything about the app of one bundle."""
    card = manifests.load(bundle)
    texts = [one.text for one in bundles.golden_examples(bundle, card) if getattr(one, "text", "").strip()]
    if card.task.head != "sequence" or card.task.pair or not texts:
        what = "keys are timed on the screen of one text and its classes"
        raise UsageError(what, where=str(bundle), fix="name the bundle of a classifier")
    if with_package:
        apk_tools.ready()  # before a minute is spent
    with tempfile.TemporaryDirectory() as space:
        made = site.build(bundle, Path(space) / "site")
        with browser.started() as (chromium, device), running(made.folder) as server:
            used = _used(_page(chromium, device, server.url), server.url, texts, amount)
            page = _page(chromium, device, server.url)
            read = strings.compared(page, bundle, made.artefact, strings.hard(amount.strings, texts))
            page.evaluate(browser.KEPT)
            checked = checks.everything(page)
            page.context.close()
            taken = _taken(chromium, device, server.url, texts[0], pictures, card.name) if pictures else []
            version = chromium.version
        package = _package(made, Path(space)) if with_package else None
        wire = _wire(made.folder)
    return Shown(
        attar=__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "attar.demo.bench", *sys.argv[1:]]),
        name=card.name,
        artefact=made.artefact,
        scores=next(one.scores for one in card.artefacts if one.file == made.artefact),
        machine=describe(),
        browser=f"Chromium {version}",
        profile=browser.PROFILE,
        wire=wire,
        strings=read,
        checks=checked,
        package=package,
        pictures=taken,
        **used,
    )


def _page(chromium: Any, device: Any, url: str, **options: Any) -> Any:
    context = chromium.new_context(**{**device, "locale": "en-GB", **options})
    context.set_default_timeout(browser.PATIENCE)
    context.add_init_script(WATCH)
    page = context.new_page()
    page.asked = []
    context.on("request", lambda request: page.asked.append(request.url))
    page.goto(url)
    page.wait_for_selector(browser.READY)
    return page


def _used(page: Any, url: str, texts: list[str], amount: Amount) -> dict[str, Any]:
    """A first visit, visits from the cache, typing, and the golden examples."""
    first = page.evaluate("readyAt")
    page.evaluate(browser.KEPT)
    ready = []
    for _ in range(amount.visits):
        page.reload()
        page.wait_for_selector(browser.READY)
        ready.append(page.evaluate("readyAt"))
    page.evaluate(TYPE)
    typed = texts[: amount.sentences]
    for text in typed:
        page.locator("textarea").fill("")
        page.wait_for_timeout(500)
        page.locator("textarea").press_sequentially(text, delay=PACE)
    page.wait_for_timeout(500)
    seen = page.evaluate("seen")
    golden = browser.run(page, browser.ENGINE + GOLDEN)
    asked = [one for one in page.asked if not one.startswith(("data:", "blob:"))]
    page.context.close()
    return {
        "first_ready_ms": first,
        "ready_ms": ready,
        "typing": Typing(
            keys=sum(map(len, typed)), ms=seen["ms"], shifts=seen["shifts"], long_frames_ms=seen["frames"]
        ),
        "golden": golden,
        "requests": len(asked),
        "foreign_requests": sum(not one.startswith(url) for one in asked),
    }


def _taken(chromium: Any, device: Any, url: str, text: str, folder: Path, name: str) -> list[str]:
    """The screen after one sentence, light and dark; the names of the files."""
    schemes = ("light", "dark")
    for scheme in schemes:
        page = _page(chromium, device, url, color_scheme=scheme, device_scale_factor=1.5)
        page.locator("textarea").fill(text)
        page.locator(".footnote", has_text="on this device").wait_for()
        page.wait_for_timeout(800)  # the bars have grown
        write_bytes(folder / f"{name}-{scheme}.png", page.screenshot())
        page.context.close()
    return [f"{name}-{scheme}.png" for scheme in schemes]


def _wire(folder: Path) -> Wire:
    about = json.loads((folder / "site.json").read_bytes())
    model = about["models"][0]
    apart = {
        "runtime": about["runtime"],
        "model": model["artefact"]["path"],
        "tokenizer": model["tokenizer"]["path"],
        "golden": model["golden"],
    }
    small = {
        path.relative_to(folder).as_posix(): len(gzip.compress(path.read_bytes(), 9, mtime=0))
        for path in folder.rglob("*")
        if path.is_file() and path.name != site.MARK
    }
    sizes = {name: small.pop(path) for name, path in apart.items()}
    return Wire(page=sum(small.values()), **sizes)


def _package(made: site.Site, space: Path) -> Package:
    tools = apk_tools.ready()
    found = apk.build(made.folder, made.name, made.version, space / "app.apk", tools, apk_key.debug(tools))
    return Package(
        id=found.id,
        bytes=found.bytes,
        files=found.checks.files,
        alignment=found.checks.alignment,
        signature=[line for line in found.checks.signature.splitlines() if line.startswith("Verified using")],
    )


def main() -> int:
    """Measure and keep; the exit code is that of the error, or 0."""
    parser = argparse.ArgumentParser(prog="attar.demo.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("bundle", type=Path, help="the bundle of a classifier")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file")
    parser.add_argument("--visits", type=int, default=15, help="from the browser's cache, after the first (15)")
    parser.add_argument("--texts", type=int, default=6, help="golden examples that are typed (6)")
    parser.add_argument("--strings", type=int, default=1000, help="hard texts that are read here and there (1000)")
    parser.add_argument("--pictures", type=Path, help="put screenshots into this folder")
    parser.add_argument("--apk", action="store_true", help="make the Android package too (`attar apk-setup` first)")
    options = parser.parse_args()
    try:
        amount = Amount(*(max(1, one) for one in (options.visits, options.texts, options.strings)))
        found = measure(options.bundle, amount, options.pictures, options.apk)
        write_json(options.out, found.model_dump(mode="json"))
    except AttarError as error:
        print(error.line(), file=sys.stderr)
        return error.code
    for row in table(found).rows:
        print(f"{row.cells[0].text}: {row.cells[1].text}")
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
