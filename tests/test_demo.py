"""The folder of the phone app and the server that shows it: whole or not at all, and nothing else handed out."""

from __future__ import annotations

import http.client
import json
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from attar.cli import main
from attar.demo import icons, measured, site
from attar.demo.serve import SiteServer, running
from attar.errors import AttarError, UsageError
from attar.export import manifest
from attar.files import file_digest

Capture = pytest.CaptureFixture[str]
VENDOR = pytest.mark.skipif(
    not (site.WEB / site.RUNTIME).is_file(), reason="the app's libraries are not here: `make app` brings them"
)
PHONE = {
    "format": "attar-phone/1", "attar": "0.1.0", "version": "0",
    "created": "2026-01-01T00:00:00Z", "target": "this phone",
    "machine": {"user_agent": "a", "isolated": False}, "runtime": "onnxruntime-web",
    "warmup": 5, "threads": 1,
    "first_ms": 3.0, "ready_ms": 500.0,
    "golden": {"rows": 2, "pieces": 2, "answers": 2, "error": 0.0, "tolerance": 0.001, "passed": True},
    "models": [{"name": "a", "file": "model.onnx", "bytes": 5, "load_ms": 1.0, "latencies": []}],
}  # fmt: skip


@pytest.fixture()
def copy(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))


def changed(folder: Path, change: Callable[[dict], None]) -> Path:  # type: ignore[type-arg]
    """The bundle, whose manifest says something else."""
    values = json.loads((folder / manifest.NAME).read_text("utf-8"))
    change(values)
    (folder / manifest.NAME).write_text(json.dumps(values), "utf-8")
    return folder


@VENDOR
def test_the_folder_holds_what_the_page_needs_and_says_so(bundle_folder: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["demo", str(bundle_folder), "--out", str(tmp_path / "site"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    folder = tmp_path / "site"
    told = json.loads((folder / "site.json").read_text("utf-8"))
    assert said["version"] == told["version"] and told["models"][0]["name"] == "tiny"
    for one in told["files"]:
        assert (
            file_digest(folder / one["path"]) == one["sha256"] and (folder / one["path"]).stat().st_size == one["bytes"]
        )
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {one["path"] for one in told["files"]} | {"site.json", "sw.js", site.MARK}
    worker = (folder / "sw.js").read_text("utf-8").splitlines()
    listed = json.loads(worker[1].removeprefix("const FILES = ").removesuffix(";"))
    assert {one["path"] for one in listed} == found - {"sw.js", site.MARK} and told["version"] in worker[0]
    page = (folder / "index.html").read_text("utf-8")
    assert site.POLICY in page and "@" not in page and "<h1>Tiny</h1>" in page
    shown = json.loads((folder / "app.webmanifest").read_text("utf-8"))
    assert all((folder / icon["src"]).is_file() for icon in shown["icons"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site"]


@VENDOR
def test_the_version_is_that_of_the_content(bundle_folder: Path, tmp_path: Path) -> None:
    versions = [
        site.build(bundle_folder, tmp_path / str(n), file).version
        for n, file in enumerate(("model.onnx", "model.onnx", "model.ort"))
    ]
    assert versions[0] == versions[1] != versions[2]
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / n).rglob("*") if p.is_file()} for n in "01")
    assert first == second
    site.build(bundle_folder, tmp_path / "0", "model.ort")  # its own folder is replaced
    assert json.loads((tmp_path / "0" / site.MARK).read_text("utf-8"))["version"] == versions[2]


@VENDOR
def test_two_bundles_stand_side_by_side(bundle_folder: Path, copy: Path, tmp_path: Path) -> None:
    changed(copy, lambda values: values.update(name="other", artefacts=values["artefacts"][1:], default="model.ort"))
    site.build(bundle_folder, tmp_path / "site", "model.onnx", copy)
    told = json.loads((tmp_path / "site" / "site.json").read_text("utf-8"))
    assert [one["name"] for one in told["models"]] == ["tiny", "other"]
    assert told["models"][0]["tokenizer"]["path"] == told["models"][1]["tokenizer"]["path"]  # one file for both


def test_the_smallest_int8_file_that_is_right_everywhere_is_taken(bundle_folder: Path) -> None:
    found = manifest.load(bundle_folder)
    base = found.artefacts[0]

    def artefact(file: str, **change: object) -> manifest.Artefact:
        return base.model_copy(update={"file": file, **change})

    made = [
        artefact("model.onnx"),
        artefact("model-int8.onnx", precision="int8"),
        artefact("model-int8.ort", precision="int8"),
        artefact("model-int8-dot-product.onnx", precision="int8", processors=["arm"]),
        artefact("model-int4.onnx", precision="int4"),
        artefact("model-32.tflite", runtime="litert", precision="int8", length=32),
    ]
    sizes = dict(zip([one.file for one in made], [90, 30, 31, 29, 20, 10], strict=True))
    files = {name: manifest.FileCard(bytes=size, sha256="") for name, size in sizes.items()}
    whole = found.model_copy(update={"artefacts": made, "files": files})
    assert site.select(whole, None, "").file == "model-int8.onnx"
    assert site.select(whole, "model-int8-dot-product.onnx", "").file == "model-int8-dot-product.onnx"
    assert site.select(whole.model_copy(update={"artefacts": made[:1]}), None, "").file == "model.onnx"
    with pytest.raises(UsageError, match=r"no ONNX Runtime file 'model-int8\.onx'; did you mean 'model-int8\.onnx'"):
        site.select(whole, "model-int8.onx", "")
    with pytest.raises(UsageError, match="no ONNX Runtime file, which the page needs"):
        site.select(whole.model_copy(update={"artefacts": made[5:]}), None, "")


@VENDOR
@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "golden.jsonl"])
def test_a_damaged_bundle_makes_no_app(copy: Path, tmp_path: Path, name: str, capsys: Capture) -> None:
    data = (copy / name).read_bytes()
    for damage in (bytes([data[0] ^ 1]) + data[1:], data[:-1], None):
        (copy / name).unlink(missing_ok=True)
        if damage is not None:
            (copy / name).write_bytes(damage)
        assert main(["demo", str(copy), "--artefact", "model.onnx", "--out", str(tmp_path / "site")]) == 1
        line = capsys.readouterr().err
        assert name in line and ("sha256" in line or "missing" in line) and line.count("\n") == 1
    assert not (tmp_path / "site").exists() and [path.name for path in tmp_path.iterdir()] == ["bundle"]


@VENDOR
def test_what_the_page_cannot_read_is_refused(copy: Path, tmp_path: Path) -> None:
    span = {"kind": "question_answering", "head": "span", "labels": ["start", "end"], "pair": True}
    span["span"] = {"stride": 1, "max_question": 8, "max_answer": 4, "n_best": 5}
    changed(copy, lambda values: values["task"].update(span))
    words = json.loads((copy / "tokenizer.json").read_text("utf-8"))
    (copy / "tokenizer.json").write_text(json.dumps(words | {"pre_tokenizer": {"type": "Whitespace"}}), "utf-8")
    card = {"bytes": (copy / "tokenizer.json").stat().st_size, "sha256": file_digest(copy / "tokenizer.json")}
    changed(copy, lambda values: values["files"].update({"tokenizer.json": card}))
    with pytest.raises(UsageError, match="BERT's tokenizer and RoBERTa's alone"):
        site.build(copy, tmp_path / "site")


@VENDOR
def test_a_folder_of_someone_else_is_left_alone(bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear", "utf-8")
    for folder in (tmp_path / "mine", tmp_path / "mine" / "letter.txt", bundle_folder):
        with pytest.raises(UsageError, match="not a folder of the app"):
            site.build(bundle_folder, folder)
    assert (tmp_path / "mine" / "letter.txt").read_text("utf-8") == "dear"


def test_without_the_libraries_the_command_says_how(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "WEB", tmp_path / "web")
    with pytest.raises(AttarError, match="make app"):
        site.build(bundle_folder, tmp_path / "site")


def test_an_icon_is_a_picture_of_its_size() -> None:
    for size, maskable in ((64, False), (96, True)):
        data = icons.png(size, maskable)
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
        assert (width, height, depth, kind) == (size, size, 8, 6)
        at, packed = 8, b""
        while at < len(data):
            length, name = struct.unpack(">I4s", data[at : at + 8])
            assert (
                zlib.crc32(data[at + 4 : at + 8 + length])
                == struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0]
            )
            packed += data[at + 8 : at + 8 + length] if name == b"IDAT" else b""
            at += 12 + length
        rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(size, 1 + 4 * size)
        pixels = rows[:, 1:].reshape(size, size, 4)
        assert tuple(pixels[size // 2, size // 2, :3]) == icons.ROSE and pixels[size // 2, size // 2, 3] == 255
        assert pixels[0, 0, 3] == (255 if maskable else 0)  # a phone cuts a maskable icon itself
        assert np.array_equal(pixels[:, : size // 8], pixels[:, : -size // 8 - 1 : -1]) or not maskable
    assert icons.svg().startswith("<svg") and icons.svg().count("<path") == 1


@pytest.fixture()
def server(tmp_path: Path) -> Iterator[SiteServer]:
    folder = tmp_path / "served"
    for name, text in (("index.html", "<h1>page</h1>"), ("app.js", "1"), ("data/0-model.onnx", "model")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    (tmp_path / "secret.txt").write_text("secret", "utf-8")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    with running(folder) as found:
        yield found


def asked(server: SiteServer, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_the_server_gives_the_files_of_the_site(server: SiteServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    for path, kind, body in (
        ("/", "text/html; charset=utf-8", b"<h1>page</h1>"),
        ("/index.html?a=1#b", "text/html; charset=utf-8", b"<h1>page</h1>"),
        ("/app.js", "text/javascript; charset=utf-8", b"1"),
        ("/data/0-model.onnx", "application/octet-stream", b"model"),
    ):
        status, headers, found = asked(server, path)
        assert (status, headers["Content-Type"], found) == (200, kind, body)
        assert (
            headers["Content-Security-Policy"].startswith(site.POLICY)
            and headers["X-Content-Type-Options"] == "nosniff"
        )
        status, headers, found = asked(server, path, "HEAD")
        assert (status, headers["Content-Length"], found) == (200, str(len(body)), b"")


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "//secret.txt", "/link.txt", "/data", "/data/",
     "/data/../index.html", "/%00", "/index.html%00.js", "/\\..\\secret.txt", "/" + "a" * 5000, "/.",
     "http://127.0.0.1/secret.txt"],
)  # fmt: skip
def test_nothing_but_the_site_is_given(server: SiteServer, path: str) -> None:
    status, _, body = asked(server, path)
    assert status in (404, 421) and b"secret" not in body and b"page" not in body


def test_another_name_or_method_is_refused(server: SiteServer) -> None:
    for host in (
        "evil.example",
        f"evil.example:{server.server_port}",
        "127.0.0.1",
        f"127.0.0.1.evil.example:{server.server_port}",
        "",
    ):
        status, _, body = asked(server, "/", Host=host)
        assert status == 421 and b"page" not in body
    assert asked(server, "/", Host=f"localhost:{server.server_port}")[0] == 200
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"):
        assert asked(server, "/", method)[0] == 501
    with pytest.raises(UsageError, match="choose another --port"):
        SiteServer(Path(), server.server_port)


def test_serving_takes_no_texts(bundle_folder: Path, capsys: Capture) -> None:
    assert main(["predict", str(bundle_folder), "a text", "--serve"]) == 2
    assert "typed in the page" in capsys.readouterr().err
    assert main(["predict", str(bundle_folder), "--json", "--serve"]) == 2
    assert main(["predict", str(bundle_folder), "--serve", "--port", "70000"]) == 2
    assert "--port" in capsys.readouterr().err


def test_a_saved_result_is_read_and_a_foreign_one_told(tmp_path: Path) -> None:
    (tmp_path / "phone.json").write_text(json.dumps(PHONE), "utf-8")
    assert measured.load(tmp_path / "phone.json").golden.passed
    (tmp_path / "phone.json").write_text(json.dumps(PHONE | {"models": []}), "utf-8")
    with pytest.raises(AttarError, match="not a result of the phone app: models"):
        measured.load(tmp_path / "phone.json")
