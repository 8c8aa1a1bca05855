"""The app's icons: a drop of rose oil, drawn from one outline as SVG and, without a library, as PNG.

- The outline is a circle below whose two tangents meet in a point above: the classic drop.
- A `maskable` icon fills its square, since phones cut it to their own shape; its drawing stays in the middle 80 %
  (W3C Web Application Manifest, safe zone).
- Edges are smooth because every pixel is the mean of `FINE` x `FINE` samples.
"""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np
import numpy.typing as npt

ROSE, DEEP, LIGHT = (201, 56, 104), (142, 27, 70), (255, 240, 244)
CENTRE, RADIUS, TIP = (0.5, 0.605), 0.235, (0.5, 0.13)  # of the drop, in a square of side 1
SHINE = ((0.435, 0.655), 0.105)  # the pale round in it
FINE = 4


def svg() -> str:
    """The icon as a vector drawing with rounded corners."""
    left, right = _tangents()
    sx, sy = SHINE[0]
    drop = (
        f"M{TIP[0]:.3f} {TIP[1]:.3f}L{right[0]:.3f} {right[1]:.3f}A{RADIUS} {RADIUS} 0 1 1 {left[0]:.3f} {left[1]:.3f}Z"
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1">'
        f'<rect width="1" height="1" rx=".22" fill="{_hex(DEEP)}"/><path d="{drop}" fill="{_hex(ROSE)}"/>'
        f'<circle cx="{sx}" cy="{sy}" r="{SHINE[1]}" fill="{_hex(LIGHT)}"/></svg>\n'
    )


def png(size: int, maskable: bool = False) -> bytes:
    """The icon with `size` pixels a side; transparent round corners, none where it is `maskable`."""
    steps = (np.arange(size * FINE, dtype=np.float32) + 0.5) / (size * FINE)
    x, y = np.meshgrid(steps, steps)
    back = np.ones_like(x, bool) if maskable else _rounded(x, y, 0.22)
    if maskable:  # smaller, in the middle
        x, y = (x - 0.5) / 0.8 + 0.5, (y - 0.5) / 0.8 + 0.5
    shine = np.hypot(x - SHINE[0][0], y - SHINE[0][1]) < SHINE[1]
    # Each lies within the one before: a pixel's colour is the mean of what is seen of them.
    parts = [one.reshape(size, FINE, size, FINE).mean((1, 3)) for one in (back, _drop(x, y), shine)]
    seen = np.stack([parts[0] - parts[1], parts[1] - parts[2], parts[2]], -1)
    colours = seen @ np.array([DEEP, ROSE, LIGHT]) / np.maximum(parts[0], 1e-9)[..., None]
    return _encode(np.concatenate([colours, 255 * parts[0][..., None]], -1).round().astype(np.uint8))


def _tangents() -> tuple[tuple[float, float], tuple[float, float]]:
    """Where the lines from the tip touch the circle, left and right."""
    height = CENTRE[1] - TIP[1]
    angle = math.acos(RADIUS / height)  # between the axis and the radius to the point of contact
    dx, dy = RADIUS * math.sin(angle), RADIUS * math.cos(angle)
    return (CENTRE[0] - dx, CENTRE[1] - dy), (CENTRE[0] + dx, CENTRE[1] - dy)


def _drop(x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which points are in the circle, or between the tip and its tangents."""
    (_, touch), (right, _) = _tangents()
    slope = (right - TIP[0]) / (touch - TIP[1])
    cone = (y > TIP[1]) & (y < touch) & (np.abs(x - TIP[0]) < (y - TIP[1]) * slope)
    found: npt.NDArray[np.bool_] = cone | (np.hypot(x - CENTRE[0], y - CENTRE[1]) < RADIUS)
    return found


def _rounded(x: npt.NDArray[np.float32], y: npt.NDArray[np.float32], radius: float) -> npt.NDArray[np.bool_]:
    """Which points of the square are within its rounded corners."""
    away = np.maximum(np.abs(np.stack([x, y]) - 0.5) - (0.5 - radius), 0)
    found: npt.NDArray[np.bool_] = np.hypot(*away) < radius
    return found


def _encode(pixels: npt.NDArray[np.uint8]) -> bytes:
    """RGBA pixels (height, width, 4) as PNG (W3C PNG, third edition, section 5): one unfiltered image."""
    height, width, _ = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], 1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
