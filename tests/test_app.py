"""The phone app in a real browser with a phone's profile: Python's answers, offline, and nothing sent out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_bundles
from attar.demo import browser as play
from attar.demo import checks, measured, shown, site, strings
from attar.demo.serve import running
from attar.export.answers import Asked
from attar.export.continuation import Continuer
from attar.export.predict import Predictor
from conftest import SENTENCES
from helpers import made_once

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or ""
if not CHROMIUM:
    pytest.skip("chromium is not here", allow_module_level=True)
if not (site.WEB / site.RUNTIME).is_file():
    pytest.skip("the app's libraries are not here: `make app` brings them", allow_module_level=True)

# What is typed into the fields of each task's screen, from above, and what that asks.
SCREENS = {
    "both orders": (SENTENCES[:2], Asked(SENTENCES[0], SENTENCES[1])),
    "token_classification": (SENTENCES[:1], Asked(SENTENCES[0])),
    "question_answering": ([small_bundles.CONTEXT, SENTENCES[0]], Asked(SENTENCES[0], small_bundles.CONTEXT)),
    "multiple_choice": (["\n".join(SENTENCES[:3]), SENTENCES[4]], Asked(SENTENCES[4], None, tuple(SENTENCES[:3]))),
    "embedding": (["\n".join(SENTENCES[:4]), "quiet music"], Asked("quiet music")),
}
LACKS = {  # put before the worker's own lines
    "WebAssembly.validate = () => false;": "WebAssembly SIMD",
    "Object.defineProperty(globalThis, 'caches', { get() { throw new Error('denied'); } });": "keeps no files",
    "Cache.prototype.put = async () => { throw new DOMException('no room', 'QuotaExceededError'); };": "keeps no files",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=list(play.ARGUMENTS))
        yield found, driver.devices["Pixel 7"]
        found.close()


@pytest.fixture(scope="module")
def sites(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """For each task its bundle and its app."""
    made = made_once(tmp_path_factory, "small_bundles", small_bundles.make_all)
    bundles = {folder.name: folder / "bundle" for folder in made.iterdir()} | {"classification": bundle_folder}
    space = tmp_path_factory.mktemp("sites")
    for name, bundle in bundles.items():
        site.build(bundle, space / name, "model.onnx")
    return {name: (bundle, space / name) for name, bundle in bundles.items()}


@contextmanager
def served(folder: Path, port: int = 0) -> Iterator[str]:
    with running(folder, port) as server:
        yield server.url


class Phone:
    """A page of a phone, and everything it asked for or complained of."""

    def __init__(
        self, browser: Any, url: str, ready: bool = True, before: str = "", worker: str = "", **options: Any
    ) -> None:
        found, device = browser
        self.context = found.new_context(**{**device, **options})
        self.context.set_default_timeout(play.PATIENCE)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.context.on("request", lambda request: self.asked.append(request.url))
        if before:
            self.context.add_init_script(before)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        if worker:
            self.page.route("**/worker.js", lambda route: self._with(route, worker))
        self.url = url
        self.page.goto(url)
        if ready:
            self.page.wait_for_selector(play.READY)

    @staticmethod
    def _with(route: Any, code: str) -> None:
        """The page's worker, with lines before its own."""
        answer = route.fetch()
        route.fulfill(response=answer, body=f"{code}\n{answer.text()}")

    def kept(self) -> None:
        """Wait until the app works without a network."""
        self.page.evaluate(play.KEPT)

    def run(self, code: str, words: Any = None) -> Any:
        return play.run(self.page, code, words)

    def engine(self, kind: str, words: dict[str, Any]) -> Any:
        """A job for a worker of the test's own."""
        code = play.ENGINE + "return await engine.call(words.kind, words);"
        return self.run(code, {**words, "kind": kind})

    def reload(self) -> None:
        self.page.reload()
        self.page.wait_for_selector(play.READY)

    def notice(self) -> str:
        self.page.wait_for_selector(".notice")
        return str(self.page.inner_text("#notices"))


@contextmanager
def phone(browser: Any, folder: Path, **options: Any) -> Iterator[Phone]:
    with served(folder) as url:
        found = Phone(browser, url, **options)
        try:
            yield found
        finally:
            found.context.close()


def test_one_types_and_sees_the_label_and_nothing_leaves_the_phone(browser: Any, sites: Any) -> None:
    bundle, folder = sites["classification"]
    text = SENTENCES[1]
    (wanted,) = Predictor(bundle).predict([(text, None)])
    with phone(browser, folder) as app:
        page = app.page
        page.locator("textarea").press_sequentially(text)
        said = wanted.document()["probabilities"]
        page.locator(".headline", has_text=wanted.document()["label"]).wait_for()
        page.wait_for_timeout(300)  # the last keystroke's answer
        assert float(page.inner_text(".sub").removesuffix(" %")) == pytest.approx(100 * max(said.values()), abs=1)
        for tab in ("Measure", "About", "Try"):
            page.get_by_role("button", name=tab, exact=True).click()
        assert page.input_value("textarea") == text  # what was typed is still there
        app.kept()
        assert app.asked and {url[: len(app.url)] for url in app.asked} == {app.url}
        assert app.complaints == []


@pytest.mark.parametrize("name", small_bundles.CARDS)
def test_answers_are_those_of_python(browser: Any, sites: Any, name: str) -> None:
    bundle, folder = sites[name]
    task = small_bundles.card(name)
    asked = small_bundles.rows(task) + ([Asked(SENTENCES[0], ask="rooms")] if task.head == "span" else [])
    predictor = Predictor(bundle)
    with phone(browser, folder) as app:
        golden = app.engine("golden", {})
        assert golden["passed"] and golden["answers"] == golden["pieces"] == golden["rows"] > 4
        said = []
        for row in asked:
            posed = predictor.form.pose(row, predictor.encoder)
            logits = [predictor.logits(features) for features in posed.features]
            wanted = posed.answer(logits).document()
            found = app.engine("logits", {"asked": row._asdict()})
            assert [one["input_ids"] for one in found["features"]] == [one.input_ids for one in posed.features]
            assert [one["token_type_ids"] for one in found["features"]] == [
                one.token_type_ids for one in posed.features
            ]
            for one, other in zip(found["logits"], logits, strict=True):
                assert np.abs(np.array(one) - other.ravel()).max() < 1e-3
            assert_same(found["answer"], wanted)
            said.append(json.dumps(found["answer"]))
        assert len(set(said)) > 1  # or the test would say nothing


def assert_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """The page's answer, with its own forms of lists, against Python's document."""
    for key in ("label", "intent", "choice", "answer"):
        if isinstance(wanted.get(key), str | int):
            assert found[key] == wanted[key]
    for key in ("value", "cosine"):
        if key in wanted:
            assert found[key] == pytest.approx(wanted[key], abs=1e-3)
    if "label" in wanted:
        assert dict(found["probabilities"]) == pytest.approx(wanted["probabilities"], abs=1e-3)
    if "slots" in wanted:
        assert [(one["slot"], one["text"]) for one in found["slots"]] == [
            (s["slot"], s["text"]) for s in wanted["slots"]
        ]
        assert dict(found["intents"]) == pytest.approx(wanted["intents"], abs=1e-3)
    if "spans" in wanted:
        assert (found["answer"] or {}).get("text") == (wanted["answer"] or {}).get("text")
        assert [one["score"] for one in found["spans"]] == pytest.approx(
            [s["score"] for s in wanted["spans"]], abs=1e-3
        )
        assert found["no_answer"] == pytest.approx(wanted["no_answer"], abs=1e-3)


def test_each_screen_shows_its_answer(browser: Any, sites: Any) -> None:
    """What Python says, on the screen of each task."""
    for name, (fields, asked) in SCREENS.items():
        bundle, folder = sites[name]
        wanted = Predictor(bundle).predict([asked])[0].document()
        with phone(browser, folder) as app:
            page = app.page
            for place, words in enumerate(fields):
                page.locator(".dock").locator("textarea, input").nth(place).fill(words)
            page.locator(".footnote", has_text="on this device").wait_for()
            if name == "both orders":
                page.locator(".headline", has_text=f"{wanted['value']:.2f}".replace("-", "\u2212")).wait_for()
            elif name == "token_classification":
                page.locator(".headline", has_text=wanted["intent"]).wait_for()
                lit = [one["text"] for one in wanted["slots"]]
                assert lit and page.locator("mark").all_inner_texts() == [f"{text}room" for text in lit]
            elif name == "question_answering":
                page.locator("mark", has_text=wanted["answer"]["text"]).wait_for()
                assert page.inner_text(".marked").strip("…") in asked.text_pair
            elif name == "multiple_choice":
                page.locator(".headline", has_text=wanted["answer"]).wait_for()
            else:
                near = [
                    Predictor(bundle).predict([(asked.text, note)])[0].document()["cosine"] for note in SENTENCES[:4]
                ]
                page.locator(".near").first.wait_for()
                assert page.locator(".note").first.inner_text() == SENTENCES[int(np.argmax(near))]
            assert app.complaints == []


def test_a_thousand_hard_strings_become_the_same_pieces_and_logits(browser: Any, sites: Any) -> None:
    bundle, folder = sites["classification"]
    encoder, hard = Predictor(bundle).encoder, strings.HARD
    pairs: list[tuple[str, str | None]] = [(text, hard[number - 3]) for number, text in enumerate(hard)]
    pairs += [(SENTENCES[0], ""), ("", "")]
    with phone(browser, folder) as app:
        read = strings.compared(app.page, bundle, "model.onnx", strings.hard(1000, SENTENCES))
        found = app.engine("pieces", {"texts": pairs})
    assert read.differing == [] and read.texts == read.pieces == read.logits == read.answers == 1000
    assert 0 < read.error < 1e-4
    for (text, pair), one, other in zip(pairs, found, encoder.encode(pairs), strict=True):
        wanted = {"input_ids": other.input_ids, "token_type_ids": other.token_type_ids, "truncated": other.truncated}
        assert one == wanted, (text, pair)


def test_a_language_model_goes_on_as_python_does(browser: Any, sites: Any) -> None:
    bundle, folder = sites["language"]
    model = Continuer(bundle)
    texts = strings.hard(230, SENTENCES)
    with phone(browser, folder) as app:
        found = app.engine("pieces", {"texts": [(text, None) for text in texts]})
        for text, one in zip(texts, found, strict=True):
            assert one["input_ids"] == model.encoder.tokenizer.encode(text, add_special_tokens=False).ids, text
        assert app.engine("golden", {})["answers"] == 3
        app.page.locator("textarea").fill("turn on")
        app.page.locator(".chips .chip").first.wait_for()
        app.page.get_by_role("button", name="Go on").click()
        app.page.get_by_role("button", name="Stop").wait_for(state="detached")
        said = app.page.input_value("textarea")
        assert said.startswith("turn on") and len(said) > len("turn on")
        wanted = model.go_on("turn on", min(64, model.card.positions - 1))
        assert app.page.input_value("textarea") == wanted.text + wanted.continuation
        app.page.get_by_role("button", name="Undo").click()
        assert app.page.input_value("textarea") == "turn on"
        app.page.locator(".chips .chip").first.click()
        assert app.page.input_value("textarea") == "turn on" + app.run(NEXT, "turn on")
        app.page.get_by_role("slider", name="Daring").fill("1.5")
        app.page.get_by_role("button", name="Go on").click()
        app.page.locator("textarea").press("End")  # who types stops it
        app.page.locator("textarea").press_sequentially("!")
        app.page.get_by_role("button", name="Go on").wait_for()
        assert "!" in app.page.input_value("textarea")


def test_it_works_when_the_server_is_gone(browser: Any, sites: Any) -> None:
    with served(sites["classification"][1]) as url:
        app = Phone(browser, url)
        app.kept()
    app.context.set_offline(True)
    app.asked.clear()
    app.reload()
    app.page.locator("textarea").fill(SENTENCES[0])
    app.page.locator(".footnote", has_text="on this device").wait_for()
    assert not app.page.query_selector(".notice") and {one[: len(url)] for one in app.asked} == {url}
    app.context.close()


def test_a_kept_app_takes_words_before_its_model_is_open_and_mends_its_files(browser: Any, sites: Any) -> None:
    with phone(browser, sites["classification"][1], before=EARLY) as app:
        app.kept()
        assert app.page.evaluate("[early, bar]") == [False, True]  # a first visit shows how far the files are
        (model,) = [url for url in app.run(KEPT) if url.endswith(".onnx")]
        app.run(SPOIL, model)
        app.asked.clear()
        app.reload()
        app.page.locator(".footnote", has_text="on this device").wait_for()
        assert app.page.evaluate("[early, bar]") == [True, False] and app.page.input_value("textarea") == "turn on"
        assert model in app.asked and not app.page.query_selector(".notice")
        app.asked.clear()
        app.reload()
        assert model not in app.asked  # what is kept is right again
        app.run(SPOIL, model)
        app.context.set_offline(True)
        app.page.reload()
        assert "network was lost" in app.notice()  # and no answer's own error takes its place
        app.page.locator("textarea").fill("play")
        app.page.wait_for_timeout(300)
        assert "network was lost" in app.notice() and app.page.input_value("textarea") == "play"


def test_a_new_version_is_offered_and_not_forced(browser: Any, sites: Any, tmp_path: Path) -> None:
    with served(sites["classification"][1]) as url:
        app = Phone(browser, url)
        app.kept()
    new = site.build(sites["classification"][0], tmp_path / "site", "model.ort")
    port = int(url.rstrip("/").rsplit(":", 1)[1])
    damaged = Path(shutil.copytree(new.folder, tmp_path / "damaged"))
    (model,) = damaged.glob("data/*.ort")
    model.write_bytes(model.read_bytes()[:-1])
    with served(damaged, port):  # a damaged version is none
        assert app.run(UPDATE) == "redundant" and not app.page.query_selector(".notice")
    with served(new.folder, port):
        old = app.run("return (await (await fetch('site.json')).json()).version")
        app.page.locator("textarea").fill("I am writing")
        app.run("await (await navigator.serviceWorker.ready).update()")
        assert "new version" in app.notice()
        assert app.page.input_value("textarea") == "I am writing" and old != new.version
        assert app.run("return (await (await fetch('site.json')).json()).version") == old
        with app.page.expect_navigation():
            app.page.get_by_role("button", name="Use it now").click()
        app.page.wait_for_selector(play.READY)
    app.context.set_offline(True)  # what the new one needs was fetched before it was offered
    app.reload()
    assert app.run("return (await (await fetch('site.json')).json()).version") == new.version
    kept = app.run(KEPT)
    listed = [one["path"] for one in json.loads((new.folder / "site.json").read_text("utf-8"))["files"] if one["data"]]
    assert len(app.run("return await caches.keys()")) == 2 and sorted(kept) == sorted(url + path for path in listed)
    app.context.close()


@pytest.mark.parametrize("damage", ["changed", "short", "missing"])
def test_a_damaged_download_is_told(browser: Any, sites: Any, tmp_path: Path, damage: str) -> None:
    folder = Path(shutil.copytree(sites["classification"][1], tmp_path / "site"))
    (model,) = folder.glob("data/*.onnx")
    data = model.read_bytes()
    model.write_bytes(data[:-9] if damage == "short" else bytes([data[0] ^ 1]) + data[1:])
    if damage == "missing":
        model.unlink()
    with phone(browser, folder, ready=False) as app:
        said = app.notice()
        assert ("not where it should be" if damage == "missing" else "came damaged") in said and model.name in said
        app.page.get_by_role("button", name="Try again").wait_for()
        assert model.name not in str(app.run(KEPT))


def test_what_a_browser_lacks_is_told(browser: Any, sites: Any) -> None:
    folder = sites["classification"][1]
    denied = "Object.defineProperty(globalThis, 'localStorage', { get() { throw new Error('denied'); } });"
    with phone(browser, folder, before=denied) as app:
        app.page.locator("textarea").fill(SENTENCES[0])
        app.page.locator(".footnote", has_text="on this device").wait_for()
    for code, said in LACKS.items():
        with served(folder) as url:
            app = Phone(browser, url, ready=False, worker=code)
            assert said in app.notice()
            app.context.close()


def test_little_room_and_an_unknown_task_are_told(browser: Any, sites: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sites["classification"][1], tmp_path / "site"))
    with served(folder) as url:
        app = Phone(browser, "about:blank", ready=False)
        room = {"origin": url.rstrip("/"), "quotaSize": 1_000_000}
        app.context.new_cdp_session(app.page).send("Storage.overrideQuotaForOrigin", room)
        app.page.goto(url)
        assert "keeps no files" in app.notice()
        app.page.locator("textarea").fill(SENTENCES[0])
        app.page.locator(".footnote", has_text="on this device").wait_for()
        app.context.close()
    (folder / "site.json").write_text(
        (folder / "site.json").read_text("utf-8").replace('"sequence"', '"poem"'), "utf-8"
    )
    with phone(browser, folder, ready=False) as app:
        assert "cannot show what this model does" in app.notice()


def test_a_text_of_a_megabyte_does_not_stop_the_typing(browser: Any, sites: Any) -> None:
    with phone(browser, sites["classification"][1]) as app:
        put = "const field = document.querySelector('textarea'); field.value = words;"
        app.run(f"{put} field.dispatchEvent(new Event('input'))", "turn on the lights 한국어 " * 45_000)
        app.page.get_by_text("longer than the model reads").wait_for()
        app.page.locator("textarea").fill("play")
        app.page.locator("textarea").press_sequentially(" some quiet music")
        app.page.get_by_text("longer than the model reads").wait_for(state="detached")
        assert app.page.input_value("textarea") == "play some quiet music" and app.complaints == []


def test_two_models_are_measured_side_by_side(browser: Any, sites: Any, tmp_path: Path) -> None:
    bundle = sites["both orders"][0]
    made = site.build(bundle, tmp_path / "site", "model.onnx", bundle)
    with phone(browser, made.folder) as app:
        app.page.get_by_role("button", name="Measure", exact=True).first.click()
        app.page.locator(".dock .main").click()
        app.page.wait_for_selector(".verdict.good")
        assert app.page.locator("table").count() == 2 and app.page.get_by_text("Quicker than the first").count() == 1
        with app.page.expect_download() as download:
            app.page.get_by_role("button", name="Save result").click()
        download.value.save_as(tmp_path / "phone.json")
    found = measured.load(tmp_path / "phone.json")
    assert found.golden.passed and "Android" in found.machine.user_agent and found.models[0].file == "model.onnx"
    first, second = (one.latencies for one in found.models)
    assert [one.length for one in first] == [one.length for one in second] == [16, 32] and first[0].queries == 40
    assert 0 < first[0].p50_ms <= first[0].p90_ms and first[0].ratio is None and (second[0].ratio or 0) > 0


# Types as soon as there is a field; `early` says whether the model was still on its way, `bar` whether a bar was shown.
EARLY = """
new MutationObserver((_, watch) => {
  const field = document.querySelector("textarea");
  globalThis.bar ||= Boolean(document.querySelector("progress"));
  if (!field) return;
  watch.disconnect();
  globalThis.early = !document.documentElement.dataset.ready && !document.querySelector("nav button:enabled");
  field.value = "turn on";
  field.dispatchEvent(new Event("input"));
}).observe(document, { subtree: true, childList: true });
"""
SPOIL = """
const name = (await caches.keys()).find((key) => key.endsWith(" data"));
await (await caches.open(name)).put(words, new Response("x"));
"""
# What became of a new version.
UPDATE = """
const registration = await (await navigator.serviceWorker.ready).update();
const found = registration.installing ?? registration.waiting;
while (found.state === "installing") await new Promise((done) => setTimeout(done, 30));
return found.state;
"""
NEXT = "return (await engine.call('next', { text: words, count: 1 })).found[0][0];"
# The large files that the browser keeps.
KEPT = """
const name = (await caches.keys()).find((key) => key.endsWith(" data"));
return name ? (await (await caches.open(name)).keys()).map((one) => one.url) : [];
"""


FOCUS = "[...document.querySelectorAll('button, input, textarea, select')].indexOf(document.activeElement)"
MOVING = """
return [...document.querySelectorAll("*")].filter((one) => getComputedStyle(one).transitionDuration !== "0s").length;
"""


def reached(page: Any) -> int:
    """How many buttons and fields the Tab key comes to."""
    found = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        found.add(page.evaluate(FOCUS))
    return len(found - {-1})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["classification", "question_answering", "language"])
def test_everyone_can_read_and_reach_everything(browser: Any, sites: Any, name: str, scheme: str) -> None:
    with phone(browser, sites[name][1], color_scheme=scheme, locale="ko-KR") as app:
        page = app.page
        assert page.get_attribute("html", "lang") == "ko"
        for turn in range(3):
            page.locator("#tabs button").nth(turn).click()
            assert not any(checks.view(page).values()), checks.view(page)
        page.locator("#tabs button").first.click()
        assert reached(page) == page.locator("button:enabled, input, textarea, select").locator("visible=true").count()
        page.emulate_media(reduced_motion="reduce")
        assert app.run(MOVING) == 0
        page.locator("#language").click()
        assert page.get_attribute("html", "lang") == "en" and page.get_by_role("button", name="About").count() == 1


def test_it_can_be_installed_and_its_policy_is_strict(browser: Any, sites: Any) -> None:
    with phone(browser, sites["classification"][1]) as app:
        app.kept()
        found = checks.everything(app.page)
        assert len(found) == 7 and not any(found.values()), found
        assert app.run(checks.POLICY) == site.POLICY
        assert not [one for one in app.asked if not one.startswith(app.url)]


# What a check must complain of, and how a page is spoilt for it.
SPOILT = {
    "accessible names": "const one = document.createElement('button'); document.body.append(one);",
    "contrast": "document.querySelector('.dock label').style.color = '#ddd';",
    "targets": "document.querySelector('.chip').style = 'min-height: 20px; height: 20px';",
    "structure": "document.querySelector('#app').style.minWidth = '200vw';",
}


def test_the_checks_complain_of_what_is_wrong(browser: Any, sites: Any) -> None:
    with phone(browser, sites["classification"][1]) as app:
        for name, code in SPOILT.items():
            app.run(code)
            assert checks.view(app.page)[name], name


def test_what_a_browser_shows_is_a_record_and_a_table(sites: Any, tmp_path: Path) -> None:
    bundle, out = sites["classification"][0], tmp_path / "app.json"
    words = [sys.executable, "-m", "attar.demo.bench", str(bundle), "--visits", "2", "--texts", "1", "--strings", "40"]
    done = subprocess.run(
        [*words, "--out", str(out), "--pictures", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = shown.load(out)
    assert found.foreign_requests == 0 and found.golden["passed"] and len(found.ready_ms) == 2
    assert found.typing.keys >= len(found.typing.ms) > found.typing.keys / 2  # a busy machine drops answers, not keys
    assert found.wire.model < (bundle / found.artefact).stat().st_size and found.package is None
    assert [tmp_path.joinpath(name).read_bytes()[:4] for name in found.pictures] == [b"\x89PNG"] * 2
    assert found.strings and found.strings.texts == found.strings.pieces == found.strings.logits == 40
    assert found.checks and not any(found.checks.values()), found.checks
    assert found.typing.shifts == 0 and len(shown.table(found).rows) == 11
