"""The Android package: what is in it, what the real tools say of it, and that its page runs without a network."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest
from attar import debian
from attar.cli import main
from attar.demo import apk, apk_check, apk_key, apk_tools, icons, site
from attar.demo.serve import HEADERS
from attar.errors import AttarError, UsageError
from hypothesis import given
from hypothesis import strategies as st

READY = debian.whole(apk_tools.home(), apk_tools.FORMAT) and bool(shutil.which("java"))  # before a test names another
need_tools = pytest.mark.skipif(not READY, reason="the tools for Android packages are not set up (attar apk-setup)")
need_page = pytest.mark.skipif(
    not (site.WEB / site.RUNTIME).is_file(), reason="the app's libraries are not here: `make app` brings them"
)
SPACE = "{http://schemas.android.com/apk/res/android}"
PAGE = {
    "index.html": b"<!doctype html>",
    "a.js": b"export {}",
    "data/0-ort.wasm": bytes(range(256)) * 99,
    "icon.png": icons.png(8),
    "data/odd.bin": b"\0" * 70_000,
    "data/notes.gz": b"\x1f\x8bno gzip",
}
RESULT: dict[str, Any] = {  # as much of a result as the screen draws
    "golden": {"rows": 1, "pieces": 1, "answers": 1, "error": 0.0, "tolerance": 0.1, "passed": True},
    "models": [{"name": "모델 #1 50 %", "file": "m", "bytes": 9, "load_ms": 1, "latencies": [
        {"length": 16, "p50_ms": 1.5, "p90_ms": 2, "ratio": None},
    ]}],
    "first_ms": 1, "threads": 1, "page_memory": None,
}  # fmt: skip
SAVE = """async (measured) => {
  const { measure } = await import("/screens/measure.js");
  const ctx = { say: (key) => key, engine: null, site: { models: measured.models }, memory: { measured } };
  measure(ctx).dock[0].querySelector(".chip").click();
}"""


def page(folder: Path) -> Path:
    for name, content in {**PAGE, site.MARK: b"{}"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@given(st.text())
def test_an_id_is_one_that_android_takes(name: str) -> None:
    found = apk.identifier(name)
    assert apk.checked(found) == found and found.startswith("attar.")
    assert apk.identifier(name) == found


def test_ids_are_from_names() -> None:
    assert [apk.identifier(name) for name in ("trec", "My-model 2", "7b")] == [
        "attar.trec",
        "attar.my_model_2",
        "attar.m7b",
    ]
    assert apk.identifier("한국어") != apk.identifier("日本語")
    for id in ("app", "1a.b", "a.b-c", "a..b", "a.b\n", "a.1b", "é.b", 'a."b'):
        with pytest.raises(UsageError, match="no id of an Android package"):
            apk.checked(id)


@given(st.text())
def test_a_manifest_is_whole_whatever_the_name(name: str) -> None:
    label = apk.label(name)
    root = ElementTree.fromstring(apk.manifest("attar.x", label, "1"))
    (application,) = root.iter("application")
    text = application.get(f"{SPACE}label") or ""
    assert text and not text.startswith(("@", "?"))
    assert text.removeprefix("\\" if label[0] in "@?" else "").replace("\\\\", "\\") == label


def test_a_manifest_asks_for_nothing() -> None:
    root = ElementTree.fromstring(apk.manifest("org.example.app", "Trec", "1f"))
    assert root.get("package") == "org.example.app" and root.get(f"{SPACE}versionName") == "1f"
    assert not [one.tag for one in root.iter() if "permission" in one.tag]
    (sdk,) = root.iter("uses-sdk")
    assert (sdk.get(f"{SPACE}minSdkVersion"), sdk.get(f"{SPACE}targetSdkVersion")) == ("24", "34")


def test_every_file_is_served_with_its_type_and_the_policy() -> None:
    told = json.loads(apk.serving(PAGE))
    assert told["headers"] == HEADERS and set(told["files"]) == {"/", *(f"/{name}" for name in PAGE)}
    assert told["files"]["/"] == {"asset": "site/index.html", "type": "text/html", "encoding": "utf-8"}
    assert told["files"]["/a.js"]["type"] == "text/javascript"
    assert told["files"]["/data/0-ort.wasm"] == {
        "asset": "site/data/0-ort.wasm", "type": "application/wasm", "encoding": None,
    }  # fmt: skip


def test_the_page_knows_the_origin_of_the_package() -> None:
    assert f'base.host === "{urlsplit(apk.ORIGIN).netloc}"' in (site.WEB / "store.js").read_text("utf-8")


def test_without_tools_key_or_id_it_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATTAR_APK", str(tmp_path / "none"))
    words = ["demo", "bundle", "--apk", str(tmp_path / "app.apk")]

    def said(code: int, *more: str) -> str:
        assert main([*words, *more]) == code
        found = capsys.readouterr().err
        assert found.count("\n") == 1
        return found

    assert "are not set up; run: attar apk-setup" in said(1)
    assert "--id: 'app' is no id" in said(2, "--id", "app")
    assert main(["demo", "bundle", "--key", "k"]) == 2 and "--key goes with --apk" in capsys.readouterr().err
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / debian.NAME).write_text(json.dumps({"format": apk_tools.FORMAT}), "utf-8")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert "java is not installed; install a JDK" in said(1)
    assert not list(tmp_path.glob("*.apk"))


def test_what_a_tool_complained_of_is_its_last_line() -> None:
    said = "Failed to load signer\njava.io.IOException: no key\n\tat sun.Tool.main(Tool.java:1)\n\t... 2 more\n"
    assert apk_tools.last_line(said, 2) == "java.io.IOException: no key"
    assert apk_tools.last_line("\n", 3) == "exit code 3"


def test_java_of_this_system_is_not_fetched() -> None:
    assert debian.status(()) == ""
    fields = dict(line.split(": ", 1) for line in debian.status(apk_tools.JAVA).splitlines())
    assert fields["Status"] == "install ok installed" and "java8-runtime" in fields["Provides"].split(", ")


@pytest.fixture(scope="module")
def tools() -> apk_tools.Tools:
    return apk_tools.ready()


@pytest.fixture(scope="module")
def key(tools: apk_tools.Tools) -> apk_key.Key:
    return apk_key.debug(tools)


@need_tools
def test_the_same_app_gives_the_same_package_that_the_tools_accept(
    tmp_path: Path, tools: apk_tools.Tools, key: apk_key.Key
) -> None:
    name = 'it\'s "a" \\ @b 한국어 <&>'
    made = [apk.build(page(tmp_path / "page"), name, "1f", tmp_path / f"{n}.apk", tools, key) for n in "ab"]
    assert made[0].file.read_bytes() == made[1].file.read_bytes() and made[0].debug_key
    checks = made[0].checks
    assert checks.files == len(PAGE) and checks.alignment == "Verification successful"
    assert "Verified using v3 scheme (APK Signature Scheme v3): true" in checks.signature
    assert f"package: name='{apk.identifier(name)}'" in checks.badging and "permission" not in checks.badging
    with zipfile.ZipFile(made[0].file) as archive:
        assert {path: archive.read(f"assets/site/{path}") for path in PAGE} == PAGE
        assert archive.getinfo("resources.arsc").compress_type == zipfile.ZIP_STORED
    assert {path.name for path in tmp_path.iterdir()} == {"page", "a.apk", "b.apk"}


@need_tools
def test_a_package_that_asks_for_the_network_is_not_made(
    tmp_path: Path, tools: apk_tools.Tools, key: apk_key.Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, ask = apk.manifest("a.b", "X", "1"), '<uses-permission android:name="android.permission.INTERNET"/><uses-sdk'
    monkeypatch.setattr(apk, "manifest", lambda *words: text.replace("<uses-sdk", ask))
    with pytest.raises(AttarError, match=r"asks for a permission: .*INTERNET"):
        apk.build(page(tmp_path / "page"), "x", "1", tmp_path / "app.apk", tools, key, "a.b")
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


@need_tools
def test_a_package_that_was_changed_is_found_out(tmp_path: Path, tools: apk_tools.Tools, key: apk_key.Key) -> None:
    good = apk.build(page(tmp_path / "page"), "x", "1", tmp_path / "app.apk", tools, key).file
    with pytest.raises(AttarError, match="not those of the app"):
        apk_check.check(good, "attar.x", "X", {**PAGE, "a.js": b"export { }"}, tools)
    content = good.read_bytes()
    place = content.index(b"assets/site/icon.png") + 60  # in the picture, which is stored as it is
    good.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(AttarError, match="apksigner failed"):
        apk_check.check(good, "attar.x", "X", PAGE, tools)


@need_tools
def test_keys_that_do_not_open_are_one_line(
    tmp_path: Path, tools: apk_tools.Tools, key: apk_key.Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(apk_key.PASSWORD, raising=False)
    with pytest.raises(UsageError, match="no such keystore"):
        apk_key.own(tmp_path / "none", tools)
    with pytest.raises(UsageError, match="password is missing; set ATTAR_KEY_PASSWORD"):
        apk_key.own(key.store, tools)
    monkeypatch.setenv(apk_key.PASSWORD, "wrong-one")
    with pytest.raises(UsageError, match="the password does not open the keystore"):
        apk_key.own(key.store, tools)
    (tmp_path / "odd").write_bytes(b"no key")
    with pytest.raises(UsageError, match="not a keystore"):
        apk_key.own(tmp_path / "odd", tools)
    monkeypatch.setenv(apk_key.PASSWORD, apk_key.DEBUG_PASSWORD)
    assert apk_key.own(key.store, tools).alias == "attar"
    assert key.store.stat().st_mode & 0o077 == 0


@need_tools
@need_page
def test_the_command_makes_the_folder_and_the_package_of_it(
    tmp_path: Path, bundle_folder: Path, tools: apk_tools.Tools, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    own = tmp_path / "own.p12"
    shutil.copy(apk_key.debug(tools).store, own)
    monkeypatch.setenv(apk_key.PASSWORD, apk_key.DEBUG_PASSWORD)
    words = ["--out", str(tmp_path / "page"), "--apk", str(tmp_path / "app.apk"), "--key", str(own), "--id", "org.a.b"]
    assert main(["demo", str(bundle_folder), *words]) == 0
    said = capsys.readouterr()
    assert "org.a.b" in said.out and "no permissions" in said.out and "debug" not in said.err
    with zipfile.ZipFile(tmp_path / "app.apk") as archive:
        for path in (tmp_path / "page").rglob("*.*"):
            if path.name != site.MARK:
                assert archive.read(f"assets/site/{path.relative_to(tmp_path / 'page')}") == path.read_bytes()


@need_page
def test_the_page_of_a_package_runs_with_what_the_package_serves(tmp_path: Path, bundle_folder: Path) -> None:
    """A browser that gets its answers from serving.json and the files alone, as the package's class gives them."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not shutil.which("chromium"):
        pytest.skip("chromium is not here")
    site.build(bundle_folder, tmp_path / "site")
    files = apk.site_files(tmp_path / "site")
    told, asked = json.loads(apk.serving(files)), []

    def answer(route: Any) -> None:
        url = urlsplit(route.request.url)
        file = told["files"].get(unquote(url.path)) if f"{url.scheme}://{url.netloc}" == told["origin"] else None
        asked.append(route.request.url)
        if file is None:
            return route.fulfill(status=404, headers=told["headers"], body="")
        kind = file["type"] + (f"; charset={file['encoding']}" if file["encoding"] else "")
        body = files[file["asset"].removeprefix("site/")]
        return route.fulfill(status=200, headers={**told["headers"], "Content-Type": kind}, body=body)

    with playwright.sync_playwright() as open_browser:
        browser = open_browser.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        context = browser.new_context()
        context.route("**/*", answer)
        shown = context.new_page()
        shown.goto(f"{told['origin']}/")
        shown.wait_for_selector("html[data-ready]", timeout=120_000)
        kept = "async () => [(await caches.keys()).length, (await navigator.serviceWorker.getRegistrations()).length]"
        assert shown.evaluate(kept) == [0, 0] and not shown.query_selector(".notice")
        with shown.expect_download() as saved:
            shown.evaluate(SAVE, RESULT)
        saved.value.save_as(tmp_path / "result.json")
        said = saved.value.url
        browser.close()
    assert said.startswith("data:application/json,")  # a blob is not to be had outside of the page
    assert json.loads((tmp_path / "result.json").read_text("utf-8")) == RESULT
    assert all(url.startswith(f"{apk.ORIGIN}/") for url in asked)
    assert any(re.search(r"ort\.wasm$", url) for url in asked)
