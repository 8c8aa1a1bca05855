"""What is looked at in every Android package, with the tools that Android's own developers use.

- aapt: the id, the versions of Android, the label, what is started, and that no permission is asked for.
- zipalign: uncompressed parts begin where a phone can map them.
- apksigner: the signatures hold for the versions of Android that the package names.
- And by ourselves: the files of the app are in it byte for byte, and nothing that the app did not bring.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import AttarError
from .apk_tools import MIN_SDK, TARGET_SDK, Tools

ASSETS = "assets/site/"
OURS = {"AndroidManifest.xml", "resources.arsc", "classes.dex", "assets/serving.json"}
SCHEMES = ("v2", "v3")  # v1 is for phones older than MIN_SDK


@dataclass(frozen=True)
class Checks:
    """What the tools said, as they said it."""

    badging: str  # aapt
    alignment: str  # zipalign
    signature: str  # apksigner
    files: int  # that are alike


def check(package: Path, id: str, label: str, files: Mapping[str, bytes], tools: Tools) -> Checks:
    """Look at a signed package; raises `AttarError` for the first thing that is not as it must be."""
    badging = tools.run("aapt", "dump", "badging", package)
    wanted = {
        "package: name": id,
        "sdkVersion": str(MIN_SDK),
        "targetSdkVersion": str(TARGET_SDK),
        "launchable-activity: name": "attar.app.SiteActivity",
    }
    for name, value in wanted.items():
        found = re.search(rf"^{re.escape(name)}[:=]'(.*?)'(?:\s|$)", badging, re.MULTILINE)
        if found is None or found[1] != value:
            raise _wrong(f"aapt reads {name} {found[1] if found else None!r}, not {value!r}")
    spelled = label.replace("\\", "\\\\").replace('"', '\\"')  # as aapt prints it
    if f"application-label:'{spelled}'" not in badging.splitlines():
        raise _wrong(f"the label is not {label!r}")
    if asked := re.findall(r"^\s*uses-(?:implied-)?permission.*", badging, re.MULTILINE):
        raise _wrong(f"the package asks for a permission: {asked[0]}")
    alignment = tools.run("zipalign", "-c", "-v", "4", package).strip().splitlines()[-1]
    signature = tools.run("apksigner", "verify", "--verbose", package)
    for scheme in SCHEMES:
        if not re.search(rf"^Verified using {scheme} scheme .*: true$", signature, re.MULTILINE):
            raise _wrong(f"apksigner finds no signature of scheme {scheme}")
    with zipfile.ZipFile(package) as archive:
        kept = {name.removeprefix(ASSETS): name for name in archive.namelist() if name.startswith(ASSETS)}
        if kept.keys() != files.keys() or any(archive.read(name) != files[path] for path, name in kept.items()):
            raise _wrong("its files are not those of the app")
        others = {name for name in archive.namelist() if not name.startswith((ASSETS, "res/"))} - OURS
    if others:
        raise _wrong(f"it holds what the app did not bring: {min(others)}")
    return Checks(badging.strip(), alignment, signature.strip(), len(files))


def _wrong(what: str) -> AttarError:
    return AttarError(f"the package was made and is not right: {what}", where="attar demo --apk")
