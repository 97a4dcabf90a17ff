"""The colour of warnings: the theme's, made as dark or as light as reading it needs."""

from __future__ import annotations

import colorsys
from typing import Any

from qtpy.QtWidgets import QWidget

MIN_CONTRAST = 4.5
"""Of text to its background, as the Web Content Accessibility Guidelines 2.1 ask for (1.4.3, level AA)."""
_STEPS = 50

Rgb = tuple[int, int, int]


def contrast(one: Rgb, other: Rgb) -> float:
    """Contrast ratio of two sRGB colours, 1 to 21 (Web Content Accessibility Guidelines 2.1, "contrast ratio")."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Rgb) -> float:
    """Relative luminance of an sRGB colour, 0 to 1."""
    linear = [v / 255 / 12.92 if v / 255 <= 0.04045 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def readable(colour: Rgb, background: Rgb) -> Rgb:
    """Make a colour lighter or darker, in steps, until its contrast to a background is :data:`MIN_CONTRAST`.

    It becomes lighter on a background that is darker than a middle grey, where white reads better than black.
    """
    hue, lightness, saturation = colorsys.rgb_to_hls(*(v / 255 for v in colour))
    end = 1.0 if contrast((255, 255, 255), background) > contrast((0, 0, 0), background) else 0.0
    for step in range(_STEPS + 1):
        mixed = lightness + (end - lightness) * step / _STEPS
        red, green, blue = (round(255 * v) for v in colorsys.hls_to_rgb(hue, mixed, saturation))
        if contrast((red, green, blue), background) >= MIN_CONTRAST:
            break
    return red, green, blue


def warning_colour(theme_name: str) -> str:
    """Give the colour of warnings in a theme of napari's, ``"#RRGGBB"``."""
    from napari.utils.theme import get_theme

    theme: Any = get_theme(theme_name)
    return "#{:02X}{:02X}{:02X}".format(*readable(_rgb(theme.warning), _rgb(theme.background)))


def _rgb(colour: Any) -> Rgb:
    red, green, blue = colour.as_rgb_tuple()[:3]
    return int(red), int(green), int(blue)


def theme_of(widget: QWidget) -> str:
    """Give the name of the theme of the window that a widget is in; before it is in one, of napari's preferences."""
    parent: Any = widget
    while parent is not None:
        viewer: Any = getattr(parent, "viewer", None)
        if hasattr(viewer, "theme"):
            return str(viewer.theme)
        parent = parent.parent()
    from napari.settings import get_settings

    return str(get_settings().appearance.theme)
