"""The app's folder on this machine's own address, for development.

- Bound to 127.0.0.1 alone; a request for another host name is refused, so that no page of the internet reaches it by a
  name that it made point here (DNS rebinding).
- Only the files of the site, listed when the server begins, are answered, by exact name: no path is ever joined. Only
  GET and HEAD; everything else is refused.
"""

from __future__ import annotations

import http
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..errors import UsageError
from .site import POLICY

HOST = "127.0.0.1"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".webmanifest": "application/manifest+json; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".wasm": "application/wasm",
}
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class _Handler(BaseHTTPRequestHandler):
    server: SiteServer
    server_version, sys_version = "attar", ""
    timeout = 30  # a connection that says nothing is closed

    def do_GET(self) -> None:
        """A file of the site."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Its headers."""
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        if self.headers.get("Host", "") not in self.server.names:
            self._refuse(http.HTTPStatus.MISDIRECTED_REQUEST, "this server answers for its own address alone")
            return
        file = self.server.files.get(unquote(urlsplit(self.path).path))
        try:
            content = file.read_bytes() if file else None
        except OSError:
            content = None
        if file is None or content is None:
            self._refuse(http.HTTPStatus.NOT_FOUND, "the site has no such file")
            return
        self._send(http.HTTPStatus.OK, KINDS.get(file.suffix, "application/octet-stream"), content, body)

    def _refuse(self, status: http.HTTPStatus, words: str) -> None:
        self._send(status, "text/plain; charset=utf-8", f"{words}\n".encode(), self.command != "HEAD")

    def _send(self, status: http.HTTPStatus, kind: str, content: bytes, body: bool) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what is asked for is the person's own."""


class SiteServer(ThreadingHTTPServer):
    """A server of one folder; `port` 0 takes a free one. Use it as a context manager, or `close` it."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        paths = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        self.files = {f"/{path.relative_to(folder).as_posix()}": path for path in paths}
        self.files["/"] = folder / "index.html"
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            fix = "choose another --port"
            raise UsageError(f"cannot listen: {error.strerror}", where=f"{HOST}:{port}", fix=fix) from None
        names = (HOST, "localhost")
        self.names = {f"{name}:{self.server_port}" for name in names} | (
            set(names) if self.server_port == 80 else set()
        )

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that closes a connection is no error."""


@contextmanager
def running(folder: Path, port: int = 0) -> Iterator[SiteServer]:
    """A server of the folder in a thread of its own, for as long as the context lasts."""
    with SiteServer(folder, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
