"""Text for pictures and plots in whatever script the class names are written."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

from kdlnet.errors import KdlnetError

# DejaVu covers Latin, Greek and Cyrillic. For the rest the first of these that is installed and has
# all the letters. Matplotlib finds them; it takes a while to import and is not needed for ASCII.
_OTHER_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Microsoft YaHei",
    "SimHei",
    "Malgun Gothic",
    "PingFang SC",
    "Hiragino Sans GB",
    "Arial Unicode MS",
)


@lru_cache(maxsize=4096)
def font_for(text: str) -> tuple[Path | None, str]:
    """A font file and ``text`` as that font can show it: letters that no font has become ``?``.

    None is the font inside Pillow, where matplotlib is not installed; it shows ASCII.
    """
    default = _default()
    if text.isascii() and text.isprintable():
        return default, text
    if default is None:
        return None, "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    for font in (default, *_installed()):
        if all(ord(letter) in _letters(font) for letter in text):
            return font, text
    known = _letters(default)
    return default, "".join(letter if ord(letter) in known else "?" for letter in text)


@lru_cache(maxsize=4096)
def render(text: str, size: int) -> NDArray[np.uint8]:
    """``text`` as a coverage mask (h, w), 255 inside the letters; ``size`` in pixels.

    The height is that of a line, the same for every text of one font and size.
    """
    file, shown = font_for(text.replace("\n", " "))
    font = _font(file, size)
    ascent, descent = font.getmetrics()
    mask, (left, top) = font.getmask2(shown, mode="L")
    left, top = max(0, left), max(0, top)  # the ink of a T or a J begins before its origin
    width = max(1, round(font.getlength(shown)) + 1, left + mask.size[0])
    canvas = np.zeros((ascent + descent, width), dtype=np.uint8)
    letters = np.array(mask, dtype=np.uint8).reshape(mask.size[::-1])[: len(canvas) - top]
    canvas[top : top + letters.shape[0], left : left + letters.shape[1]] = letters
    canvas.flags.writeable = False  # shared by all callers through the cache
    return canvas


def shorten(text: str, size: int, width: int) -> str:
    """``text``, cut with an ellipsis where its rendering would be wider than ``width`` pixels."""
    if render(text, size).shape[1] <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if render(text[:middle] + "…", size).shape[1] <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"


@lru_cache(maxsize=64)
def _font(file: Path | None, size: int) -> ImageFont.FreeTypeFont:
    if file is None:
        font = ImageFont.load_default(size)
        if not isinstance(font, ImageFont.FreeTypeFont):
            raise KdlnetError("this Pillow draws no text (no FreeType): pip install pillow")
        return font
    return ImageFont.truetype(str(file), size)


@cache
def _default() -> Path | None:
    """DejaVu Sans, which comes with matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    folders = (spec.submodule_search_locations or ()) if spec else ()
    files = (Path(folder, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf") for folder in folders)
    return next(filter(Path.is_file, files), None)


@lru_cache(maxsize=32)
def _letters(font: Path) -> frozenset[int]:
    return frozenset(_font_manager().get_font(str(font)).get_charmap())


@lru_cache(maxsize=1)
def _installed() -> tuple[Path, ...]:
    fonts = _font_manager().fontManager.ttflist
    found = {entry.name: Path(entry.fname) for entry in fonts}
    return tuple(found[name] for name in _OTHER_FONTS if name in found)


def _font_manager() -> Any:
    return importlib.import_module("matplotlib.font_manager")
