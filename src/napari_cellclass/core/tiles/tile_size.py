"""A tile size for an image, proposed from the scale of its cells or spots."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its parts are imported when they are used: half a second
from numpy.typing import NDArray

from napari_cellclass.core.images.source import SourceImage

SIZES = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""The sizes that are proposed, in px."""

USUAL_PX = 128
"""What is proposed where nothing can be measured."""

_TILES_PER_SIDE = 4
# A square of side s that is laid at random holds a disc of diameter d wholly with probability (1 - d / s)**2; at this
# s / d it is one half.
_TILE_PER_DIAMETER = 1 / (1 - math.sqrt(0.5))
# A disc's Laplacian of Gaussian has most energy at a sigma of 0.795 times its radius.
_DIAMETER_PER_SIGMA = 2 / 0.795
_CROP_PX, _SIDE_STEP_PX, _LEAST_CROP_PX = 1024, 64, 32
_LEAST_DIAMETER_PX, _CROP_PER_DIAMETER = 5.0, 4.0
_SCALES_PER_OCTAVE = 6
_MAX_CHANNELS = 8
_BINS = 512
_SHADING_MODES = 2.0  # waves longer than a crop are uneven illumination
_NOISE_ABOVE = 0.8 * math.pi  # frequencies, in radians per px, where a lens leaves noise alone
_NOISE_RATIO, _NOISE_DEVIATIONS = 2.0, 5.0
_CLIPPED = (0.1, 99.9)
# Centres of the crops of a large image; the second row only where the first shows nothing.
_CENTRES = (
    ((0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)),
    ((0.5, 0.5), (0.5, 0.1), (0.5, 0.9), (0.1, 0.5), (0.9, 0.5)),
)
_GREY = np.full(3, 1 / 3, np.float32)
_WORDS = ("less than one cell or spot", "one cell or spot", *(
    f"{n} cells or spots" for n in ("two", "three", "four", "five", "six", "seven", "eight", "nine")
))  # fmt: skip


@dataclass(frozen=True)
class TileSizeProposal:
    """A tile size, and why.

    Parameters
    ----------
    tile_px
        The side of a tile, in px.
    reason
        A sentence for users.
    scale_px, scale_um
        The diameter of cells or spots that was measured, in px, and in µm where the pixel size is known; None where
        nothing stands out.
    channel
        The channel that it was measured in; None where nothing stands out.
    """

    tile_px: int
    reason: str
    scale_px: float | None = None
    scale_um: float | None = None
    channel: int | None = None


def propose_tile_size(source: SourceImage) -> TileSizeProposal:
    """Propose a tile size from the scale of an image's cells or spots.

    At most nine crops of 1024 px are read. Their diameter is that of the disc whose Laplacian of Gaussian, normalised
    by scale, has its highest energy at the same scale as the image's (T. Lindeberg, "Feature detection with automatic
    scale selection", Int. J. Computer Vision 30, 1998; the energy of all scales follows from one cosine transform,
    by Parseval's theorem). Bright and dark structures count alike. White noise, as measured at the highest
    frequencies, is subtracted, and no scale is measured where it prevails. Of several channels the one that stands
    out most from its noise counts.

    The size is the one of :data:`SIZES` nearest to 3.4 diameters, at which half of the cells lie whole in one tile,
    but leaves at least 4 x 4 tiles where the image has 128 px or more.

    Parameters
    ----------
    source
        The field.

    Returns
    -------
    TileSizeProposal
        Never larger than the image.

    Raises
    ------
    ImageError
        The pixels cannot be read.
    """
    limit = _largest_px(source.shape)
    if min(source.shape) < _LEAST_CROP_PX:
        return TileSizeProposal(limit, f"{limit} px tiles: the image is too small to measure")
    found = _measure(source)
    if isinstance(found, str):
        size = min(USUAL_PX, limit)
        return TileSizeProposal(size, f"{size} px tiles: {found}" + ("" if size == USUAL_PX else f"; {_FEW}"))
    diameter, channel = found
    wanted = min(SIZES, key=lambda size: abs(math.log(size / (_TILE_PER_DIAMETER * diameter))))
    size = min(wanted, limit)
    size_um = None if source.pixel_size_um is None else diameter * math.sqrt(math.prod(source.pixel_size_um))
    count = _WORDS[min(round(size / diameter), len(_WORDS) - 1)]
    measured = f"{diameter:.0f} px" + (f", {size_um:.2g} µm" if size_um else "")
    measured += f", in {source.channel_names[channel]}" if source.channels > 1 and source.channel_names else ""
    reason = f"{size} px tiles, about {count} across ({measured})"
    return TileSizeProposal(size, reason + (f"; {_FEW}" if size < wanted else ""), diameter, size_um, channel)


_FEW = f"larger ones would be fewer than {_TILES_PER_SIDE} x {_TILES_PER_SIDE}"


def _largest_px(shape: tuple[int, int]) -> int:
    """Return the largest size of which four fit each side; for tiny images the smallest size, or their own."""
    side = min(shape)
    return max([size for size in SIZES if size * _TILES_PER_SIDE <= side], default=min(SIZES[0], side))


def _measure(source: SourceImage) -> tuple[float, int] | str:
    """Return diameter in px and channel, or why there is none."""
    channels = range(1 if source.rgb else min(source.channels, _MAX_CHANNELS))
    side = _SIDE_STEP_PX * int(_CROP_PX / _SIDE_STEP_PX / math.sqrt(len(channels)))  # a fast length for the transform
    spectra: list[_Spectrum] = []
    for centres in _CENTRES:
        for box in _crops(source.shape, centres, side):
            pixels = source.read(*box)
            spectra = spectra or [_Spectrum(pixels.shape[:2]) for _ in channels]
            for channel, spectrum in zip(channels, spectra, strict=True):
                spectrum.add(pixels.astype(np.float32) @ _GREY if source.rgb else pixels[..., channel])
        peaks = [(peak, channel) for channel, one in zip(channels, spectra, strict=True) if (peak := one.peak())]
        if peaks:
            (_, diameter), channel = max(peaks)
            return diameter, channel
    if not any(spectrum.power.any() for spectrum in spectra):
        return "all sampled pixels have one grey value"
    return "nothing that could be cells or spots stands out from noise and background"


def _crops(
    shape: tuple[int, int], centres: tuple[tuple[float, float], ...], side: int
) -> list[tuple[int, int, int, int]]:
    """Return different boxes y0, x0, y1, x1 of at most ``side`` px around centres given as fractions of the image."""
    boxes = {}
    for centre in centres:
        box = []
        for at, length in zip(centre, shape, strict=True):
            middle = length // 2 if length < 2 * side else int(at * length)
            start = max(0, min(middle - side // 2, length - side))
            box.append((start, min(start + side, length)))
        boxes[box[0][0], box[1][0], box[0][1], box[1][1]] = True
    return list(boxes)


class _Spectrum:
    """The summed power of some crops of one channel by frequency, in radians per px.

    Parameters
    ----------
    shape
        (height, width) of every crop.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._side = min(shape)
        ky, kx = (np.pi * np.arange(length) / length for length in shape)
        k = np.hypot(ky[:, None], kx).ravel()
        self._bin = np.minimum(k * (_BINS / (math.sqrt(2) * np.pi)), _BINS - 1).astype(np.intp)
        modes = np.bincount(self._bin, minlength=_BINS)
        self._k = np.bincount(self._bin, k, _BINS) / np.maximum(modes, 1)
        self._modes = np.where(self._k > _SHADING_MODES * np.pi / self._side, modes, 0)
        self._crops = 0
        self._unit = 0.0
        self.power: NDArray[np.float64] = np.zeros(_BINS)

    def add(self, pixels: NDArray[Any]) -> None:
        """Add a crop (h, w); values that are not finite are replaced by the median, outliers clipped."""
        sample = pixels[::4, ::4].astype(np.float64)
        sample = sample[np.isfinite(sample)]
        self._crops += 1
        if not sample.size:
            return
        low, middle, high = np.percentile(sample, (_CLIPPED[0], 50, _CLIPPED[1]))
        self._unit = self._unit or high - low
        if not high > low or not np.isfinite(self._unit):
            return
        with np.errstate(all="ignore"):  # what overflows is clipped
            x = ((pixels.astype(np.float64) - middle) / self._unit).astype(np.float32)
            if pixels.dtype.kind == "f":
                x = np.nan_to_num(x, nan=0.0, posinf=np.inf, neginf=-np.inf)
            x = x.clip((low - middle) / self._unit, (high - middle) / self._unit)
        power = scipy.fft.dctn(x, norm="ortho", overwrite_x=True).ravel()
        self.power += np.bincount(self._bin, power**2, _BINS)

    def peak(self) -> tuple[float, float] | None:
        """Return its ratio to the energy of noise, and the diameter in px, of the scale of most energy, or None."""
        k, modes = self._k, self._modes * self._crops
        power = np.where(modes > 0, self.power, 0)
        high = k > _NOISE_ABOVE
        noise = max(power[high].sum() / max(1, modes[high].sum()), 1e-9 * power.sum() / max(1, modes.sum()))
        octaves = math.log2(self._side / _CROP_PER_DIAMETER / _LEAST_DIAMETER_PX)
        if noise <= 0 or octaves * _SCALES_PER_OCTAVE < 3:
            return None
        steps = np.arange(octaves * _SCALES_PER_OCTAVE + 1)
        diameters = _LEAST_DIAMETER_PX * 2 ** (steps / _SCALES_PER_OCTAVE)
        t = (diameters[:, None] / _DIAMETER_PER_SIGMA * k) ** 2
        weights = t**2 * np.exp(-t)  # of the power, in the energy of sigma**2 times the Laplacian of Gaussian
        of_noise = noise * weights @ modes
        deviation = noise * np.sqrt(2 * weights**2 @ modes)  # a coefficient of white noise is normal
        excess = weights @ power - of_noise
        stands_out = (excess > (_NOISE_RATIO - 1) * of_noise) & (excess > _NOISE_DEVIATIONS * deviation)
        inner = np.arange(1, len(excess) - 1)
        inner = inner[stands_out[inner] & (excess[inner] > excess[inner - 1]) & (excess[inner] >= excess[inner + 1])]
        if not len(inner):
            return None
        i = int(inner[excess[inner].argmax()])
        before, at, after = excess[i - 1 : i + 2]
        shift = 0.5 * (before - after) / (before - 2 * at + after)  # the vertex of a parabola
        return float(excess[i] / of_noise[i]), float(diameters[i] * 2 ** (shift / _SCALES_PER_OCTAVE))
