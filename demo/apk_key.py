"""The key that signs an Android package: one's own keystore, or a debug key that is made once and kept.

- A phone takes an update only from the key that signed what it has, so a key is never made anew where there is one.
- A password comes by the environment and goes to the tools by the environment: a command line is seen by others.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import AttarError, UsageError
from ..files import explain_os_errors
from .apk_tools import Tools

PASSWORD = "ATTAR_KEY_PASSWORD"
DEBUG, DEBUG_PASSWORD = "debug.p12", "attar-debug"  # no secret: it protects nothing
YEARS = 30


@dataclass(frozen=True)
class Key:
    """A keystore with one private key."""

    store: Path
    alias: str
    secret: Mapping[str, str]  # the password, as the tools' environment
    debug: bool


def own(store: Path, tools: Tools) -> Key:
    """The key of a keystore whose password is in `$ATTAR_KEY_PASSWORD`."""
    if not store.is_file():
        raise UsageError("no such keystore", where=str(store), fix="keytool -genkeypair makes one")
    password = os.environ.get(PASSWORD)
    if not password:
        raise UsageError("the keystore's password is missing", where=str(store), fix=f"set {PASSWORD}")
    return _opened(store, password, tools, debug=False)


def debug(tools: Tools) -> Key:
    """The key of the tools' folder, made where there is none."""
    store = tools.folder / DEBUG
    if not store.is_file():
        with explain_os_errors(store), tempfile.TemporaryDirectory(dir=tools.folder, prefix=".key.") as name:
            made = Path(name) / DEBUG
            kind = ["-storetype", "PKCS12", "-keyalg", "RSA", "-keysize", "2048", "-validity", str(365 * YEARS)]
            names = ["-alias", "attar", "-dname", "CN=attar debug"]
            words = ["-genkeypair", "-keystore", str(made), "-storepass:env", PASSWORD, *kind, *names]
            tools.run("keytool", *words, secret={PASSWORD: DEBUG_PASSWORD})
            made.chmod(0o600)
            made.replace(store)
    return _opened(store, DEBUG_PASSWORD, tools, debug=True)


def _opened(store: Path, password: str, tools: Tools, debug: bool) -> Key:
    """Look into the keystore: the password must open it and there must be one private key."""
    secret = {PASSWORD: password}
    try:
        told = tools.run("keytool", "-list", "-keystore", store, "-storepass:env", PASSWORD, secret=secret)
    except AttarError as error:
        if "password" in error.what:
            raise UsageError(
                "the password does not open the keystore", where=str(store), fix=f"set {PASSWORD}"
            ) from None
        raise UsageError(f"not a keystore: {error.what}", where=str(store)) from None
    aliases = re.findall(r"^(.+?), .*PrivateKeyEntry", told, re.MULTILINE)
    if len(aliases) != 1:
        what = f"the keystore holds {len(aliases)} private keys and must hold one"
        raise UsageError(what, where=str(store), fix="name a keystore for this app alone")
    return Key(store, aliases[0], secret, debug)
