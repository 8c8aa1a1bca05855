"""From a bundle to the folder of its phone app: a page that is installed once and then works offline.

- Nothing that is not whole goes in: every file of the bundle that is used is held against the manifest's sha256, and
  the page holds what it downloads against `site.json`.
- The model is the smallest int8 file for ONNX Runtime that is right on every processor; `--artefact` names another.
- Models, tokenizers and the runtime have their digest in their name, so that a browser keeps them over versions. The
  version is the digest of everything, and any change makes the service worker of the page a new one.
- A page of its own origin: the policy below lets it load its own files and compile WebAssembly, and nothing more.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import AttarError, UsageError, nearest
from ..export import bundle as bundles
from ..export import manifest as manifests
from ..export.manifest import Artefact, Manifest
from ..files import explain_os_errors, file_digest, inside, replace_folder, value_digest, write_bytes, write_json
from . import icons

WEB = Path(__file__).parent / "web"
RUNTIME = "vendor/ort.wasm"
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
)
ICONS = {"icon-192.png": (192, False), "icon-512.png": (512, False), "icon-maskable.png": (512, True)}
MARK = "attar-site.json"  # a folder with it is the app's own and may be replaced


@dataclass(frozen=True)
class Site:
    """What was written."""

    folder: Path
    name: str  # of the bundle
    version: str
    artefact: str  # the file that answers
    app_bytes: int  # of the page and its libraries
    model_bytes: int  # of the models, tokenizers and golden examples


def build(bundle: Path, out: Path, artefact: str | None = None, beside: Path | None = None) -> Site:
    """Write the app of a bundle to `out`, whole or not at all; `beside` is a bundle that is timed against it.

    Raises `AttarError` for a damaged bundle, and `UsageError` for one that the app cannot run.
    """
    if not (WEB / RUNTIME).is_file():
        fix = "run `make app` in the repository (it needs npm), or install a wheel, which carries them"
        raise AttarError("the libraries of the phone app are not here", where=str(WEB / RUNTIME), fix=fix)
    if out.exists() and not (out / MARK).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("this is not a folder of the app", where=str(out), fix="name a new or an empty folder")
    data: dict[str, bytes] = {}
    own = _model(bundle, artefact, data)
    models = [own, *([_model(beside, None, data)] if beside else [])]
    if beside and models[1]["task"]["head"] != own["task"]["head"]:
        raise UsageError("the two bundles answer different tasks", where=str(beside))
    runtime = _kept(data, (WEB / RUNTIME).read_bytes(), "ort.wasm")
    shell = _shell(own["name"])
    files = [{"path": name, **_card(content), "data": True} for name, content in sorted(data.items())]
    files += [{"path": name, **_card(content), "data": False} for name, content in sorted(shell.items())]
    about = {"attar": __version__, "title": title(own["name"]), "runtime": runtime, "models": models, "files": files}
    version = value_digest(about)[:16]
    site = json.dumps({"version": version, **about}, ensure_ascii=False, separators=(",", ":")).encode()
    listed = [*files, {"path": "site.json", **_card(site), "data": False}]
    head = f"const VERSION = {json.dumps(version)};\nconst FILES = {json.dumps(listed)};\n"
    shell["sw.js"] = head.encode() + (WEB / "sw.js").read_bytes()
    _write(out, {**shell, **data, "site.json": site}, version)
    sizes = [sum(map(len, part.values())) for part in (shell, data)]
    engine = len(data[runtime])
    return Site(out, own["name"], version, str(own["artefact"]["file"]), sizes[0] + engine, sizes[1] - engine)


def select(manifest: Manifest, file: str | None, where: str) -> Artefact:
    """The artefact that the page runs: the one named, or the smallest int8 file that is right on all processors."""
    usable = [one for one in manifest.artefacts if one.runtime == "onnxruntime"]
    if not usable:
        fix = "export one: `export: {onnx: [int8]}`"
        raise UsageError("the bundle has no ONNX Runtime file, which the page needs", where=where, fix=fix)
    if file is not None:
        found = next((one for one in usable if one.file == file), None)
        if found is None:
            fix = nearest(file, {one.file for one in usable})
            raise UsageError(f"the bundle has no ONNX Runtime file {file!r}", where=where, fix=fix)
        return found
    for_all = [one for one in usable if not one.processors] or usable
    small = [one for one in for_all if one.precision == "int8"] or for_all
    return min(small, key=lambda one: (manifest.files[one.file].bytes, one.file))


def _model(bundle: Path, artefact: str | None, data: dict[str, bytes]) -> dict[str, Any]:
    """What the page is told of a bundle's model; its files go into `data` by the names they have in the site."""
    manifest = manifests.load(bundle)
    chosen = select(manifest, artefact, str(bundle))
    tokenizer = _whole(bundle, manifest, manifest.tokenizer.file)
    if manifest.task.head == "span" and not _tells_places(tokenizer):
        what = (
            "answers are places in a text, which the page finds for the pieces of BERT's tokenizer and RoBERTa's alone"
        )
        raise UsageError(what, where=f"{bundle}/{manifest.tokenizer.file}")
    model = _whole(bundle, manifest, chosen.file)
    _whole(bundle, manifest, manifest.golden)
    golden = json.dumps([one.model_dump() for one in bundles.golden_examples(bundle, manifest)], ensure_ascii=False)
    return {
        "name": manifest.name,
        "task": manifest.task.model_dump(mode="json"),
        "tokenizer": {
            "path": _kept(data, tokenizer, "tokenizer.json"),
            **manifest.tokenizer.model_dump(include={"max_length", "pad_id"}),
        },
        "artefact": {
            "path": _kept(data, model, Path(chosen.file).name),
            "bytes": len(model),
            **chosen.model_dump(mode="json", include={"file", "precision", "inputs", "scores", "golden_tolerance"}),
        },
        "golden": _kept(data, golden.encode(), "golden.json"),
    }


def _whole(bundle: Path, manifest: Manifest, name: str) -> bytes:
    """The content of a bundle's file, which is what the manifest says."""
    path, card = inside(bundle, name), manifest.files.get(name)
    if card is None or not path.is_file():
        raise AttarError("the file is missing", where=str(path), fix="attar verify tells what else is wrong")
    if path.stat().st_size != card.bytes or file_digest(path) != card.sha256:
        what = "the content differs from the manifest's sha256"
        raise AttarError(what, where=str(path), fix="attar verify tells what else is wrong")
    with explain_os_errors(path, reading=True):
        return path.read_bytes()


def _tells_places(tokenizer: bytes) -> bool:
    """Whether the page can tell the characters of each piece."""
    try:
        parts = json.loads(tokenizer)
        kinds = [(parts[name] or {}).get("type") for name in ("normalizer", "pre_tokenizer", "model")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return kinds in (["BertNormalizer", "BertPreTokenizer", "WordPiece"], [None, "ByteLevel", "BPE"])


def _kept(data: dict[str, bytes], content: bytes, name: str) -> str:
    """Put a large file among `data` under a name that says what is in it; gives the name."""
    path = f"data/{_card(content)['sha256'][:16]}-{name}"
    data[path] = content
    return path


def _shell(name: str) -> dict[str, bytes]:
    """The page itself: everything in `web/` but the runtime's binary, with its icons and its web manifest."""
    left_out = {RUNTIME, "vendor/.ready", "sw.js"}
    found = {path.relative_to(WEB).as_posix(): path.read_bytes() for path in sorted(WEB.rglob("*")) if path.is_file()}
    shell = {name: content for name, content in found.items() if name not in left_out}
    words = {b"@POLICY@": POLICY, b"@TITLE@": _escaped(title(name))}
    for mark, text in words.items():
        shell["index.html"] = shell["index.html"].replace(mark, text.encode())
    shell["icon.svg"] = icons.svg().encode()
    shell |= {file: icons.png(*how) for file, how in ICONS.items()}
    shell["app.webmanifest"] = json.dumps(_web_manifest(title(name)), ensure_ascii=False).encode()
    return shell


def _web_manifest(title: str) -> dict[str, Any]:
    """What a phone reads to install the page."""
    pictures = [
        {"src": file, "sizes": f"{size}x{size}", "type": "image/png", "purpose": "maskable" if maskable else "any"}
        for file, (size, maskable) in ICONS.items()
    ]
    return {
        "name": title,
        "short_name": title[:12],
        "id": "./",
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": "#fbf6f4",
        "theme_color": "#8e1b46",
        "icons": [*pictures, {"src": "icon.svg", "sizes": "any", "type": "image/svg+xml"}],
    }


def title(name: str) -> str:
    """A bundle's name as people write it."""
    words = name.replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:] or "attar"


def _escaped(text: str) -> str:
    for sign, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(sign, name)
    return text


def _card(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _write(out: Path, files: Mapping[str, bytes], version: str) -> None:
    """Write all files beside `out` and put the folder in its place."""
    with explain_os_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as space:
            partial = Path(space) / "site"
            for name, content in files.items():
                write_bytes(inside(partial, name), content)
            write_json(partial / MARK, {"format": "attar-site/1", "version": version})
            replace_folder(partial, out)
