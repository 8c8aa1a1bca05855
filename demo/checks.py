"""What anybody needs of a page, looked at by a script, as Lighthouse does: can it be installed, does it work offline,
has everything a name, can it be read and hit, and is it closed to foreign code?

Each check gives what it complains of; nothing is good. Names are those that Chromium tells a screen reader.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from . import browser

TABS = "#tabs button"
NAMED = {"button", "textbox", "combobox", "slider", "progressbar", "link", "image", "table", "searchbox"}
# Texts whose contrast with what is behind them is below 4.5 (WCAG 2.2, success criterion 1.4.3).
CONTRAST = """
const rgb = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
const linear = (value) => ((value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
function behind(one) {
  for (; one; one = one.parentElement) {
    const found = rgb(getComputedStyle(one).backgroundColor);
    if (found[3] !== 0) return found;
  }
  return [255, 255, 255];
}
const shown = (one) => one.checkVisibility({ visibilityProperty: true }) && !one.closest(":disabled, noscript");
const bad = [];
for (const one of document.querySelectorAll("body *")) {
  if (!shown(one) || ![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
  const [low, high] = [light(rgb(getComputedStyle(one).color)), light(behind(one))].sort((a, b) => a - b);
  const ratio = (high + 0.05) / (low + 0.05);
  if (ratio < 4.5) bad.push(`${one.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
}
return bad;
"""
# What a finger cannot hit: lower than 48 pixels.
TARGETS = """
return [...document.querySelectorAll("button, input, textarea, select")].filter((one) => one.checkVisibility())
  .map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect().height])
  .filter(([, height]) => height < 48).map(([words, height]) => `${words}: ${height} px`);
"""
PAGE = """
const bad = [];
if (!document.documentElement.lang) bad.push("the page tells no language");
if (!document.title.trim()) bad.push("the page has no title");
if (document.querySelectorAll("h1").length !== 1) bad.push("the page has not one heading");
if (!document.querySelector("main") || !document.querySelector("nav")) bad.push("a landmark is missing");
if (/user-scalable|maximum-scale/.test(document.querySelector("meta[name=viewport]").content)) bad.push("no zoom");
if (document.documentElement.scrollWidth > document.documentElement.clientWidth) bad.push("wider than the screen");
return bad;
"""
INLINE = """
const broken = new Promise((done) =>
  document.addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective)));
const script = document.createElement("script");
script.textContent = "globalThis.ran = true";
document.body.append(script);
return [globalThis.ran ?? null, await broken];
"""
FOREIGN = "try { await fetch('https://attar.invalid/'); return 'sent' } catch { return 'refused' }"
POLICY = "return document.querySelector('meta[http-equiv=Content-Security-Policy]')?.content ?? ''"


def everything(page: Any) -> dict[str, list[str]]:
    """All checks of a kept app whose first screen is shown; the page is offline for a while and loaded again."""
    found: dict[str, list[str]] = {"accessible names": [], "contrast": [], "targets": [], "structure": []}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for tab in range(page.locator(TABS).count()):
            page.locator(TABS).nth(tab).click()
            for name, complaints in view(page).items():
                found[name] += complaints
    page.emulate_media(color_scheme=None)
    page.locator(TABS).first.click()
    return {"installable": list(installable(page)), **found, "policy": list(policy(page)), "offline": offline(page)}


def view(page: Any) -> dict[str, list[str]]:
    """What is on the screen now."""
    return {
        "accessible names": list(names(page)),
        "contrast": browser.run(page, CONTRAST),
        "targets": browser.run(page, TARGETS),
        "structure": browser.run(page, PAGE),
    }


def names(page: Any) -> Iterator[str]:
    """What a person can operate and a screen reader has no word for."""
    for node in _session(page).send("Accessibility.getFullAXTree")["nodes"]:
        role, name = (node.get(key, {}).get("value", "") for key in ("role", "name"))
        if not node["ignored"] and role in NAMED and (not name.strip() or "undefined" in name):
            yield f"a {role} has no name"


def installable(page: Any) -> Iterator[str]:
    """What keeps a phone from installing the page."""
    session = _session(page)
    found = session.send("Page.getAppManifest")
    yield from (one["message"] for one in found["errors"])
    if json.loads(found["data"] or "{}").get("display") != "standalone":
        yield "the manifest does not ask for a window of its own"
    for one in session.send("Page.getInstallabilityErrors")["installabilityErrors"]:
        if one["errorId"] != "in-incognito":  # which the browser of this check is
            yield one["errorId"]


def policy(page: Any) -> Iterator[str]:
    """Whether foreign code or a foreign address gets through."""
    words = browser.run(page, POLICY)
    yield from (f"the policy has {one}" for one in ("'unsafe-inline'", "'unsafe-eval'", "http:", "*") if one in words)
    if "default-src 'none'" not in words:
        yield "what the policy does not name is allowed"
    if browser.run(page, INLINE) != [None, "script-src-elem"]:
        yield "an inline script ran"
    if browser.run(page, FOREIGN) != "refused":
        yield "a request to another origin was sent"


def offline(page: Any) -> list[str]:
    """Whether the app starts without a network; it is loaded again."""
    page.context.set_offline(True)
    try:
        page.reload()
        page.wait_for_selector(f"{browser.READY}, .notice")
        said = str(page.inner_text("#notices"))
        return [said] if said else []
    finally:
        page.context.set_offline(False)


def _session(page: Any) -> Any:
    return page.context.new_cdp_session(page)
