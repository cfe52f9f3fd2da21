"""Colours that stay apart for colour-blind readers, as (R, G, B) in 0-255."""

from __future__ import annotations

import colorsys

Color = tuple[int, int, int]

# Okabe and Ito, "Color Universal Design" (2008), without black: no good line on dark steel.
_UNIVERSAL: tuple[Color, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
)
# What a matched box is. They differ in lightness too, and drawings add line style and words.
TRUE: Color = (0, 158, 115)
FALSE: Color = (214, 39, 40)
MISSED: Color = (255, 190, 11)
REGION: Color = (200, 200, 200)


def palette(count: int) -> list[Color]:
    """``count`` distinct colours: seven universal ones, then steps around the colour circle.

    The colour of a class does not depend on how many classes there are.
    """
    colors = list(_UNIVERSAL[:count])
    for step in range(count - len(colors)):
        # The golden angle keeps neighbours far apart; three lightnesses help where hue does not.
        hue = (0.08 + step * 0.61803398875) % 1.0
        red, green, blue = colorsys.hls_to_rgb(hue, (0.62, 0.42, 0.78)[step % 3], 0.75)
        colors.append((round(red * 255), round(green * 255), round(blue * 255)))
    return colors


def text_color(background: Color) -> Color:
    """Black or white, whichever reads better on ``background`` (contrast as in WCAG 2)."""
    linear = [(value / 255) ** 2.2 for value in background]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    # Equal contrast with black and white lies at sqrt(1.05 * 0.05) - 0.05.
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def hexadecimal(color: Color) -> str:
    """``(0, 158, 115)`` -> ``#009e73``."""
    return "#{:02x}{:02x}{:02x}".format(*color)
