"""`attar apk-setup`: the tools that make an Android package, in one folder, without root.

- aapt, zipalign, apksigner, the compiler to Android's bytecode (dx) and Android's own classes (API 23) come from Debian
  as `debian.py` tells; bullseye is the last release that has them all. They run with the libraries that came with them.
- Java is this system's own: a JDK, of `$JAVA_HOME` or on the search path.
- The two classes of the package are compiled once for each version of their source.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import debian
from ..errors import AttarError
from ..files import folder_digest, locked, write_bytes, write_json

FORMAT, SUITE = 1, "bullseye"
COMMAND = "attar apk-setup"
PACKAGES = ("aapt", "zipalign", "apksigner", "dalvik-exchange", "libandroid-23-java")
JAVA = ("java5-runtime-headless", "java6-runtime-headless", "java8-runtime")  # what the packages ask for
JARS = {"apksigner": "apksigner.jar", "dx": "com.android.dx.jar"}
MIN_SDK, TARGET_SDK = 24, 34  # from 24 on a phone knows signatures of the whole file (scheme v2)
ANDROID = Path(__file__).parent / "android"


def home() -> Path:
    """The folder that `attar apk-setup` makes: `$ATTAR_APK`, or `attar/apk` in the user's cache."""
    return debian.home("ATTAR_APK", "apk")


def make(folder: Path, say: debian.Say) -> dict[str, Any]:
    """Make what is missing in the folder, and say what is fetched; gives what `setup.json` holds.

    Raises `AttarError` in one line where apt-get, a JDK or the network is missing.
    """
    debian.need(COMMAND)
    _java("javac")
    with locked(folder):
        architecture = debian.architecture(COMMAND)
        fetched = debian.fetch(folder, "tools", PACKAGES, architecture, SUITE, COMMAND, say, JAVA)
        Tools(folder).classes()
        found = {"format": FORMAT, "suite": SUITE, "mirror": debian.MIRROR, "fetched": fetched}
        write_json(folder / debian.NAME, found)
        shutil.rmtree(folder / "fetched", ignore_errors=True)
    return found


def ready() -> Tools:
    """The tools that were set up, or one line that says how to."""
    folder = home()
    if not debian.whole(folder, FORMAT):
        raise AttarError("the tools for Android packages are not set up", where=str(folder), fix=f"run: {COMMAND}")
    _java("java")
    return Tools(folder)


@dataclass(frozen=True)
class Tools:
    """The programs of a folder that was set up."""

    folder: Path

    @property
    def framework(self) -> Path:
        """Android's classes and resources."""
        return self.folder / "tools/usr/share/java/com.android.android-23.jar"

    def run(self, name: str, *words: str | Path, secret: Mapping[str, str] | None = None) -> str:
        """What a tool prints; `secret` is told by the environment. Raises `AttarError` with its last line."""
        command = [*self._program(name), *map(str, words)]
        environment = {**os.environ, "LC_ALL": "C.UTF-8", **(secret or {})}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False
        )
        if done.returncode:
            raise AttarError(f"{name} failed: {last_line(done.stdout + done.stderr, done.returncode)}")
        return done.stdout

    def classes(self) -> Path:
        """The package's own code as `classes.dex`."""
        found = self.folder / f"classes-{folder_digest(ANDROID, lambda path: path.suffix == '.java')[:12]}.dex"
        if not found.is_file():
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".classes.") as name:
                compiled, dex = Path(name) / "java", Path(name) / "classes.dex"
                compiled.mkdir()
                sources = sorted(ANDROID.glob("*.java"))
                level = ["-source", "8", "-target", "8", "-Xlint:-options", "-g:none", "-encoding", "UTF-8"]
                self.run("javac", *level, "-bootclasspath", self.framework, "-d", compiled, *sources)
                self.run("dx", "--dex", f"--min-sdk-version={MIN_SDK}", f"--output={dex}", compiled)
                write_bytes(found, dex.read_bytes())
        return found

    def _program(self, name: str) -> list[str]:
        if name in ("javac", "keytool"):
            return [_java(name), "-J-Duser.language=en"]
        if name in JARS:
            jar = self.folder / "tools/usr/share/java" / JARS[name]
            main = ["-cp", str(jar), "com.android.dx.command.Main"] if name == "dx" else ["-jar", str(jar)]
            return [_java("java"), "-Duser.language=en", *main]
        return debian.program(self.folder / "tools", name)


def last_line(said: str, code: int) -> str:
    """What a tool complained of at its end, without the places in its own code."""
    lines = [line.strip() for line in said.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("at ", "... "))]
    return lines[-1][:300] if lines else f"exit code {code}"


def _java(name: str) -> str:
    """A program of this system's JDK."""
    places = [os.path.join(os.environ["JAVA_HOME"], "bin")] if os.environ.get("JAVA_HOME") else []  # noqa: PTH118
    found = shutil.which(name, path=os.pathsep.join([*places, os.environ.get("PATH", os.defpath)]))
    if found is None:
        fix = "install a JDK (default-jdk-headless) or set JAVA_HOME"
        raise AttarError(f"{name} is not installed", where="attar demo --apk", fix=fix)
    return found
