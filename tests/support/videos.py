"""Videos with damage."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import cv2
import numpy as np


def with_frames(file: Path, out: Path, change) -> Path:
    """An AVI of Motion JPEG whose frame n holds ``change(n, data)``; its index says so."""
    data = file.read_bytes()
    start = data.find(b"movi")
    at, content, index = start + 4, b"", b""
    for n in itertools.count():
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind != b"00dc":
            break
        frame = change(n, data[at + 8 : at + 8 + length])
        index += kind + struct.pack("<3I", 16, 4 + len(content), len(frame))
        content += kind + struct.pack("<I", len(frame)) + frame + bytes(len(frame) % 2)
        at += 8 + length + length % 2
    movi = b"LIST" + struct.pack("<I", 4 + len(content)) + b"movi" + content
    whole = data[: start - 8] + movi + b"idx1" + struct.pack("<I", len(index)) + index
    out.write_bytes(whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:])
    return out


def noise(size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)


def changed(tmp_path: Path, change, image: np.ndarray | None = None, count: int = 6) -> Path:
    """A video of ``count`` frames of noise, see :func:`with_frames`."""
    file = tmp_path / "whole.avi"
    size = (64, 48) if image is None else image.shape[1::-1]
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 10, size)
    for _ in range(count):
        writer.write(noise() if image is None else image)
    writer.release()
    return with_frames(file, tmp_path / "changed.avi", change)
