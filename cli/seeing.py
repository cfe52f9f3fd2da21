"""Options of how images are seen: as weights say, or as a training shall."""

from __future__ import annotations

from typing import Annotated, Any

from .options import given, option

ImageSize = Annotated[
    str | None,
    option("--image-size", metavar="N|HxW", help="Network input, multiples of 32 [the weights']."),
]
TrainSize = Annotated[
    str | None,
    option("--image-size", metavar="N|HxW", help="Network input, multiples of 32 [suits data]."),
]
Window = Annotated[
    str | None,
    option("--window", metavar="LOW-HIGH", help="Intensities of black and white [the weights']."),
]
Tile = Annotated[
    str | None,
    option("--tile", metavar="N|HxW|off", help="Cut images into tiles of N pixels [the weights']."),
]
Overlap = Annotated[
    float | None,
    option("--overlap", metavar="SHARE", help="Of neighbouring tiles [the weights', else 0.2]."),
]
Roi = Annotated[
    str | None,
    option("--roi", metavar="X1,Y1,X2,Y2", help="Region to look at; off: all [the weights']."),
]
TrainRoi = Annotated[
    str | None,
    option("--roi", metavar="X1,Y1,X2,Y2", help="Region to look at, of all images [all]."),
]
TrainTile = Annotated[
    str | None,
    option("--tile", metavar="N|HxW", help="Train on tiles of N pixels [suits data]."),
]
TrainOverlap = Annotated[
    float | None, option("--overlap", metavar="SHARE", help="Of neighbouring tiles [0.2].")
]


def seeing(
    image_size: str | None,
    window: str | None = None,
    tile: str | None = None,
    overlap: float | None = None,
    roi: str | None = None,
) -> dict[str, Any]:
    """How images are seen, where it was given. Raises ConfigError for what cannot be read."""
    from kdlnet.utils.parse import parse_image_size, parse_roi, parse_tile, parse_window

    return given(
        image_size=None if image_size is None else parse_image_size(image_size),
        window=None if window is None else parse_window(window),
        tile=None if tile is None else parse_tile(tile),
        overlap=overlap,
        roi=None if roi is None else parse_roi(roi),
    )
