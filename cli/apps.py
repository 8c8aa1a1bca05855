"""The command for the phone app of a bundle."""

from __future__ import annotations

from pathlib import Path

from .common import Flag, app, print_json


@app.command
def demo(
    bundle: Path,
    /,
    *,
    out: Path = Path("site"),
    artefact: str | None = None,
    beside: Path | None = None,
    json: Flag = False,
) -> int:
    """Write a bundle's phone app: a page that any web server can hand out, that is installed and works offline.

    Args:
        bundle: the bundle's folder
        out: the folder of the app
        artefact: which ONNX Runtime file answers, the smallest int8 one where not given
        beside: a bundle of the same task that the app times in turns with the first
        json: print one JSON document
    """
    from ..demo import site

    found = site.build(bundle, out, artefact, beside)
    if json:
        return print_json({**vars(found), "folder": str(found.folder)})
    print(
        f"{found.folder}: {found.artefact}, model {found.model_bytes / 1e6:.1f} MB, app {found.app_bytes / 1e6:.1f} MB"
    )
    return 0
