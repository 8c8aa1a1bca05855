"""From a phone app's folder to an Android package: a WebView over the very same files, signed.

- The page is ES modules, a worker and WebAssembly, which browsers refuse from file://. The package answers for an https
  origin that is reserved for this, with the types, the policy and the headers of `serve.py`; it has no permission, so
  the system opens no connection for it.
- No service worker runs there: WebView asks for its script by another way (ServiceWorkerController), and what it is
  for, to keep the files, the package does by itself. The page knows the origin, and keeps no second copy of its files.
- aapt makes the manifest's and the icons' binary forms; the files are put in beside them as they are. Order, times and
  modes are fixed: the same app, tools and key give the same bytes.
- A package is looked at with the real tools before it is put in its place (`apk_check.py`).
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import unicodedata
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from ..errors import UsageError
from ..files import explain_os_errors, write_bytes, write_text
from . import apk_check, icons
from .apk_key import PASSWORD, Key
from .apk_tools import ANDROID, MIN_SDK, TARGET_SDK, Tools
from .serve import HEADERS, KINDS
from .site import MARK, title

ORIGIN = "https://appassets.androidplatform.net"  # Google's, for this purpose, and never answered by a server
SIZES = {"mdpi": 48, "hdpi": 72, "xhdpi": 96, "xxhdpi": 144, "xxxhdpi": 192}
FRONT = 432  # pixels: an adaptive icon's 108 dp where a dp is four pixels
ADAPTIVE = """<?xml version="1.0" encoding="utf-8"?>
<adaptive-icon xmlns:android="http://schemas.android.com/apk/res/android">
  <background android:drawable="@color/back"/><foreground android:drawable="@mipmap/front"/>
</adaptive-icon>
"""
COLORS = (
    '<?xml version="1.0" encoding="utf-8"?>\n<resources><color name="back">#{:02x}{:02x}{:02x}</color></resources>\n'
)
IDENTIFIER = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*(\.[a-zA-Z][a-zA-Z0-9_]*)+")
STORED = {".arsc", ".png"}  # the first because Android 11 and later ask for it


@dataclass(frozen=True)
class Package:
    """What was made."""

    file: Path
    id: str
    bytes: int
    debug_key: bool
    checks: apk_check.Checks


def build(site: Path, name: str, version: str, out: Path, tools: Tools, key: Key, id: str | None = None) -> Package:
    """Make the package `out` of the app in the folder `site`; `name` is the bundle's, `version` the app's.

    Raises `AttarError` where a tool fails or the package is not what it must be; then nothing is at `out`.
    """
    id = checked(id) if id else identifier(name)
    if out.is_dir():
        raise UsageError("this is a folder", where=str(out), fix="name a file: app.apk")
    files, shown = site_files(site), label(name)
    with explain_os_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with explain_os_errors(out), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as space:
        folder = Path(space)
        _unsigned(folder, manifest(id, shown, version), files, tools)
        signed = _signed(folder, tools, key)
        found = apk_check.check(signed, id, shown, files, tools)
        write_bytes(out, signed.read_bytes())
    return Package(out, id, out.stat().st_size, key.debug, found)


def identifier(name: str) -> str:
    """A package's id from a bundle's name: `attar.` and what letters and digits it has, else its digest."""
    word = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if not word:
        word = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"attar.{word if word[0].isalpha() else f'm{word}'}"


def label(name: str) -> str:
    """What stands under the app's icon: the bundle's name as people write it, without what XML cannot hold."""
    signs = (sign if unicodedata.category(sign) not in ("Cc", "Cs", "Cn") else " " for sign in title(name))
    return " ".join("".join(signs).split()) or "attar"


def checked(id: str) -> str:
    """The id if Android takes it."""
    if not IDENTIFIER.fullmatch(id) or len(id) > 200:
        fix = "write words of letters, digits and _, joined by dots: org.example.app"
        raise UsageError(f"{id!r} is no id of an Android package", where="--id", fix=fix)
    return id


def manifest(id: str, label: str, version: str) -> str:
    """`AndroidManifest.xml` of an app."""
    words = {"@ID@": id, "@CODE@": "1", "@VERSION@": version, "@MIN@": str(MIN_SDK), "@TARGET@": str(TARGET_SDK)}
    text = (ANDROID / "AndroidManifest.xml").read_text("utf-8")
    for mark, word in words.items():
        text = text.replace(mark, word)
    return text.replace('"@LABEL@"', quoteattr(_literal(label)))


def site_files(site: Path) -> dict[str, bytes]:
    """The files of the app by their path in it."""
    with explain_os_errors(site, reading=True):
        found = {path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*") if path.is_file()}
    return {path: content for path, content in sorted(found.items()) if path != MARK}


def serving(files: Mapping[str, bytes]) -> bytes:
    """What the package's class reads: the origin, the headers, and type and place of every file by its path."""
    answers = {}
    for path in ["", *files]:
        place = path or "index.html"
        kind, _, charset = KINDS.get(Path(place).suffix, "application/octet-stream").partition("; charset=")
        answers[f"/{path}"] = {"asset": f"site/{place}", "type": kind, "encoding": charset or None}
    return json.dumps({"origin": ORIGIN, "headers": HEADERS, "files": answers}).encode()


def _literal(label: str) -> str:
    """A label as aapt reads it: no reference to a resource, no escape."""
    text = label.replace("\\", "\\\\")
    return f"\\{text}" if text.startswith(("@", "?")) else text


def _unsigned(folder: Path, manifest: str, files: Mapping[str, bytes], tools: Tools) -> None:
    """Write `unsigned.apk` with all that is in the package."""
    write_text(folder / "AndroidManifest.xml", manifest)
    for density, size in SIZES.items():
        write_bytes(folder / f"res/mipmap-{density}/icon.png", icons.png(size))
    write_bytes(folder / "res/mipmap-xxxhdpi/front.png", icons.png(FRONT, maskable=True))
    write_text(folder / "res/mipmap-anydpi-v26/icon.xml", ADAPTIVE)
    write_text(folder / "res/values/colors.xml", COLORS.format(*icons.DEEP))
    sources: list[str | Path] = ["-M", folder / "AndroidManifest.xml", "-S", folder / "res", "-I", tools.framework]
    tools.run("aapt", "package", "-f", "--no-crunch", *sources, "-F", folder / "binary.apk")
    with zipfile.ZipFile(folder / "binary.apk") as binary:
        parts = {name: binary.read(name) for name in sorted(binary.namelist())}
    parts["classes.dex"] = tools.classes().read_bytes()
    parts["assets/serving.json"] = serving(files)
    parts |= {f"{apk_check.ASSETS}{path}": content for path, content in files.items()}
    with zipfile.ZipFile(folder / "unsigned.apk", "w") as package:
        for name, content in parts.items():
            card = zipfile.ZipInfo(name)  # of 1980, the first day that a zip can tell
            card.compress_type = zipfile.ZIP_STORED if Path(name).suffix in STORED else zipfile.ZIP_DEFLATED
            card.create_system, card.external_attr = 3, 0o644 << 16
            package.writestr(card, content, compresslevel=9)


def _signed(folder: Path, tools: Tools, key: Key) -> Path:
    """Align and sign `unsigned.apk`; aligned first, since a signature is over the whole file."""
    aligned, signed = folder / "aligned.apk", folder / "signed.apk"
    tools.run("zipalign", "-f", "4", folder / "unsigned.apk", aligned)
    by = ["--ks-key-alias", key.alias, "--ks-pass", f"env:{PASSWORD}"]
    schemes = ["--v1-signing-enabled", "false", "--v2-signing-enabled", "true", "--v3-signing-enabled", "true"]
    tools.run("apksigner", "sign", "--ks", key.store, *by, *schemes, "--out", signed, aligned, secret=key.secret)
    return signed
