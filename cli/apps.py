"""The commands for the phone app of a bundle."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .common import Flag, app, print_json, set_up

if TYPE_CHECKING:
    from ..demo.apk import Package
    from ..demo.site import Site


@app.command
def demo(
    bundle: Path,
    /,
    *,
    out: Path | None = None,
    apk: Path | None = None,
    id: str | None = None,
    key: Path | None = None,
    artefact: str | None = None,
    beside: Path | None = None,
    json: Flag = False,
) -> int:
    """Write a bundle's phone app: a page that any web server can hand out, that is installed and works offline.

    Args:
        bundle: the bundle's folder
        out: the folder of the app, `site` where neither it nor --apk is given
        apk: write the app as this Android package, signed and checked (`attar apk-setup` first)
        id: the package's id, org.example.app; made from the bundle's name where not given
        key: the keystore that signs the package, its password in ATTAR_KEY_PASSWORD; a debug key where not given
        artefact: which ONNX Runtime file answers, the smallest int8 one where not given
        beside: a bundle of the same task that the app times in turns with the first
        json: print one JSON document
    """
    from ..demo import site

    if not apk and (id or key):
        raise UsageError(f"--{'id' if id else 'key'} goes with --apk", where="attar demo")
    maker = _maker(id, key) if apk else None
    with tempfile.TemporaryDirectory() as space:
        found = site.build(bundle, out or (Path(space) / "site" if apk else Path("site")), artefact, beside)
        package = maker(found, apk) if maker and apk else None
    told: dict[str, Any] = {**vars(found), "folder": str(found.folder) if out or not apk else None}
    if json:
        return print_json({**told, **({"apk": {**asdict(package), "file": str(package.file)}} if package else {})})
    if told["folder"]:
        sizes = f"model {found.model_bytes / 1e6:.1f} MB, app {found.app_bytes / 1e6:.1f} MB"
        print(f"{found.folder}: {found.artefact}, {sizes}")
    if package:
        _tell(package)
    return 0


def _maker(id: str | None, key: Path | None) -> Callable[[Site, Path], Package]:
    """What makes a package of an app; tools, key and id are looked at before anything is written."""
    from ..demo import apk, apk_key, apk_tools

    if id:
        apk.checked(id)
    tools = apk_tools.ready()
    opened = apk_key.own(key, tools) if key else apk_key.debug(tools)
    return lambda site, out: apk.build(site.folder, site.name, site.version, out, tools, opened, id)


def _tell(package: Package) -> None:
    size = f"{package.bytes / 1e6:.1f} MB"
    print(f"{package.file}: {package.id}, {size}, no permissions, {package.checks.files} files alike, verified")
    if package.debug_key:
        words = "signed with a debug key of this machine, good for trying; --key names your own"
        print(f"attar: {words}", file=sys.stderr)


@app.command
def apk_setup(*, json: Flag = False, quiet: Flag = False) -> int:
    """Fetch the tools that `attar demo --apk` needs from Debian, without root, into one folder; a JDK must be here.

    The folder is ~/.cache/attar/apk, or $ATTAR_APK; about 24 MB are fetched, and 46 MB are on disk.

    Args:
        json: print one JSON document
        quiet: do not say what is fetched
    """
    from ..demo import apk_tools

    return set_up(apk_tools.home(), apk_tools.make, json, quiet)
