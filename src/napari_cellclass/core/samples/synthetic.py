"""A synthetic fluorescence plate with known ground truth: diffuse cells against cells with globs.

The two classes differ in one thing alone. A cell's signal is drawn in the same way for both, and in a
cell with globs a fraction of it is moved into a few bright puncta; wells of both classes have one list of
gains and backgrounds. So neither brightness nor cell number separates the classes, and how separable they
are is set by ``glob_fraction``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.special import expit

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.files import atomic_write

Kind = Literal["diffuse", "globs"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PIXEL_SIZE_UM = 0.325  # a 6.5 µm camera pixel behind a 20x objective
MAX_COUNT = 4095  # 12 bits

_CELL_PX = 27.0  # mean radius of a cell
_HALF_WINDOW_PX = 80  # the largest cell that `_draw_shape` makes ends here
_BORDER_PX = 27  # cells are centred at most so far outside a field
_PSF_SIGMA_PX = 0.9  # 0.21 λ/NA (Zhang, Zerubia & Olivo-Marin 2007) is 0.5 px; the rest is defocus
_OFFSET = 100.0
_READ_NOISE = 5.0
_PLATE_COLUMNS = range(3, 23)  # a 384-well plate without its edge, where wells dry out
_PLATE_ROWS = "BCDEFGHIJKLMNO"


@dataclass(frozen=True)
class PlateParams:
    """What a plate is made of.

    Parameters
    ----------
    wells_per_class, sites_per_well
        How many wells each class has, 1 to 140, and how many fields are taken in each.
    field_px
        Side of a field in px.
    cells_per_field
        Cells on a field of 512 x 512 px; other sizes get as many per area.
    glob_fraction
        Mean fraction of a cell's signal, 0 to 0.9, that is in globs in the class ``globs``.
    granule_fraction
        Mean fraction that is in faint granules in cells of *both* classes.
    globs_per_cell
        Mean number of globs.
    signal
        Mean electrons per px of a cell at gain 1.
    gains
        Brightness of the wells; well i of *each* class gets one of them, in a seeded order, and they are
        used again from the start when there are more wells.
    backgrounds
        Electrons per px beside the cells at gain 1, one per gain.
    site_gains
        Brightness of the sites, the same in every well, as a meniscus makes it. They differ more than
        the wells do: wells like a held-out one are missing from its own class in training, so with wells
        that differ much, a model that has learned nothing but brightness scores far below chance.
    seed
        The same seed and parameters give the same bytes.

    Raises
    ------
    ParamsError
        A number out of its range, or lists of different lengths.
    """

    wells_per_class: int = 4
    sites_per_well: int = 2
    field_px: int = 512
    cells_per_field: int = 44
    glob_fraction: float = 0.4
    granule_fraction: float = 0.03
    globs_per_cell: float = 14.0
    signal: float = 200.0
    gains: tuple[float, ...] = (0.88, 0.96, 1.04, 1.14)
    backgrounds: tuple[float, ...] = (64.0, 54.0, 60.0, 50.0)
    site_gains: tuple[float, ...] = (1.1, 0.7, 1.35, 0.85)
    seed: int = 0

    def __post_init__(self) -> None:
        most = len(_PLATE_COLUMNS) * len(_PLATE_ROWS) // len(KINDS)
        if not 1 <= self.wells_per_class <= most:
            raise ParamsError(f"a plate cannot have {self.wells_per_class} wells per class; use 1 to {most}")
        for name, least in (("sites_per_well", 1), ("field_px", 32), ("cells_per_field", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ParamsError(f"a {name} of {getattr(self, name)} is not possible; use {least} or more")
        for name in ("glob_fraction", "granule_fraction"):
            if not 0 <= getattr(self, name) <= 0.9:
                raise ParamsError(f"a {name} of {getattr(self, name)} is not possible; use 0 to 0.9")
        if not self.gains or not self.site_gains or len(self.gains) != len(self.backgrounds):
            raise ParamsError(
                f"there must be gains, site_gains and as many backgrounds as gains, not {len(self.gains)}, "
                f"{len(self.site_gains)} and {len(self.backgrounds)}"
            )
        smallest = min(*self.gains, *self.site_gains, self.signal, self.globs_per_cell)
        if smallest <= 0 or min(self.backgrounds) < 0:
            raise ParamsError("gains, signal and globs_per_cell must be above 0, backgrounds at least 0")


@dataclass(frozen=True, eq=False)
class SyntheticField:
    """One field of a plate and its ground truth.

    Parameters
    ----------
    well, site
        Where it was taken, e.g. ``"B03"`` and 0.
    class_name
        ``"diffuse"`` or ``"globs"``, the same for the whole well.
    pixels
        uint16, shape (Y, X): counts, 0..4095.
    centres
        float64, shape (cells, 2): (y, x) of the cells' centres in px that lie on the field, pixel centres
        on integers.
    gain
        Product of the well's and the site's gain.
    globs
        float64, shape (M, 2): (y, x) of the centres of the globs in px, also of those outside the field; none in the
        class ``"diffuse"``. The faint granules of both classes are not among them.
    """

    well: str
    site: int
    class_name: Kind
    pixels: NDArray[np.uint16]
    centres: NDArray[np.float64]
    gain: float
    globs: NDArray[np.float64]

    @property
    def stem(self) -> str:
        """Well and site as in the file's name, e.g. ``"B03f00"``."""
        return f"{self.well}f{self.site:02d}"

    @property
    def file_name(self) -> str:
        """The file's name, e.g. ``"B03f00.tif"``."""
        return f"{self.stem}.tif"


def plate_fields(params: PlateParams) -> Iterator[SyntheticField]:
    """Make the fields of a plate one at a time, ordered by class, well and site.

    Every field draws from a generator of its own, so a larger plate begins with the same wells' cells.
    """
    for k, kind in enumerate(KINDS):
        # Offset by the classes: a list that ends in zeros seeds like the list without them.
        order = np.random.default_rng([params.seed, len(KINDS) + k]).permutation(len(params.gains))
        for well in range(params.wells_per_class):
            light = order[well % len(order)]
            for site in range(params.sites_per_well):
                gain = params.gains[light] * params.site_gains[site % len(params.site_gains)]
                rng = np.random.default_rng([params.seed, k, well, site])
                pixels, centres, globs = _simulate(kind, params, gain, params.backgrounds[light], rng)
                yield SyntheticField(_well_name(k, well), site, kind, pixels, centres, gain, globs)


def separable_plate(seed: int = 0, **changes: Any) -> Iterator[SyntheticField]:
    """Make a plate whose classes are easily separable.

    Parameters
    ----------
    seed
        See :class:`PlateParams`.
    **changes
        Other fields of :class:`PlateParams`.
    """
    return plate_fields(replace(PlateParams(seed=seed), **changes))


def inseparable_plate(seed: int = 0, **changes: Any) -> Iterator[SyntheticField]:
    """Make a plate whose classes differ by next to nothing.

    The globs have so little of the signal that they are masked by the granules that all cells have. A model
    trained on it should score near chance on held-out wells, whatever it scores on its own. The
    diffuse wells are those of :func:`separable_plate`, whose parameters it has.
    """
    return plate_fields(replace(PlateParams(seed=seed, glob_fraction=0.03), **changes))


def write_plate(folder: Path, fields: Iterable[SyntheticField]) -> list[Path]:
    """Write fields into one folder per class, e.g. ``globs/C03f00.tif``.

    The files are 16-bit TIFFs as ImageJ writes them, with the pixel size in µm; equal fields give equal
    bytes.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    paths = []
    for field in fields:
        path = Path(folder) / field.class_name / field.file_name
        with atomic_write(path) as temporary:
            tifffile.imwrite(
                temporary,
                field.pixels,
                imagej=True,
                resolution=(1 / PIXEL_SIZE_UM, 1 / PIXEL_SIZE_UM),
                metadata={"axes": "YX", "unit": "um"},
            )
        paths.append(path)
    return paths


def checkerboard_field(
    tile_px: int | tuple[int, int], rows: int, cols: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Make a field whose tiles differ in grey level.

    Tiles with an even row + column have levels 0..127 and the others 128..255, both rising from tile to
    tile, so neighbours always differ and, up to 256 tiles, no level occurs twice.

    Parameters
    ----------
    tile_px
        Side of a square tile, or (height, width), in px.
    rows, cols
        Tiles down and across.

    Returns
    -------
    pixels : ndarray of uint8, shape (rows * height, cols * width)
        Each tile constant.
    levels : ndarray of uint8, shape (rows, cols)
        The tiles' levels.
    """
    height, width = (tile_px, tile_px) if isinstance(tile_px, int | np.integer) else tile_px
    odd = np.indices((rows, cols)).sum(axis=0) % 2 == 1
    levels = np.zeros((rows, cols), np.uint8)
    levels[~odd] = np.linspace(0, 127, int((~odd).sum())).round()
    levels[odd] = np.linspace(128, 255, int(odd.sum())).round()
    return levels.repeat(height, axis=0).repeat(width, axis=1), levels


def _well_name(k: int, well: int) -> str:
    """Name a well: classes alternate like the colours of a chessboard, so that no row or column separates them."""
    row, column = divmod(well, len(_PLATE_COLUMNS))
    return f"{_PLATE_ROWS[len(KINDS) * row + (k + column) % len(KINDS)]}{_PLATE_COLUMNS[column]:02d}"


def _simulate(
    kind: Kind, params: PlateParams, gain: float, background: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint16], NDArray[np.float64], NDArray[np.float64]]:
    """Return a field's counts, its cells' centres, and those of its globs."""
    size, margin = params.field_px, _HALF_WINDOW_PX + _BORDER_PX
    canvas = np.zeros((size + 2 * margin,) * 2)
    texture = _texture(canvas.shape, rng)
    centres = _scatter_cells(params, rng)
    globs = [np.zeros((0, 2))]
    for y, x in centres:
        y0, x0 = int(y) + _BORDER_PX, int(x) + _BORDER_PX
        window = (slice(y0, y0 + 2 * _HALF_WINDOW_PX), slice(x0, x0 + 2 * _HALF_WINDOW_PX))
        shape, radius = _draw_shape(rng)
        total = params.signal * np.pi * radius**2 * rng.lognormal(0, 0.35)
        shape *= texture[window]
        signal, spots = _concentrate(shape / shape.sum(), kind, params, rng)
        canvas[window] += total * signal
        globs.append(spots + np.array([y, x]).astype(int) - _HALF_WINDOW_PX)
    haze = uniform_filter(uniform_filter(canvas, 41), 41)  # light from above and below the focus
    scene = gaussian_filter(0.88 * canvas + 0.12 * haze, _PSF_SIGMA_PX)[margin:-margin, margin:-margin]
    electrons = gain * _illumination(size, rng) * (scene + background)
    counts = rng.poisson(electrons) + rng.normal(_OFFSET, _READ_NOISE, electrons.shape)
    on_field = (centres >= -0.5).all(axis=1) & (centres < size - 0.5).all(axis=1)
    return counts.round().clip(0, MAX_COUNT).astype(np.uint16), centres[on_field], np.concatenate(globs)


def _scatter_cells(params: PlateParams, rng: np.random.Generator) -> NDArray[np.float64]:
    """Scatter cells over a field and a little beyond it; some touch, few lie upon another.

    Best-candidate sampling (Mitchell 1991): of a few random positions, the one farthest from all others.

    Returns
    -------
    ndarray of float64, shape (cells, 2)
        Centres (y, x) on whole px, up to ``_BORDER_PX`` outside the field.
    """
    low, high = -_BORDER_PX, params.field_px + _BORDER_PX
    cells = round(params.cells_per_field * ((high - low) / 512) ** 2)
    centres = np.zeros((cells, 2))
    for i in range(cells):
        candidates = rng.uniform(low, high, (8, 2))
        distances = np.linalg.norm(candidates[:, None] - centres[None, :i], axis=2)
        centres[i] = candidates[distances.min(axis=1, initial=np.inf).argmax()]
    return centres.round()


def _texture(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Make the unevenness of cytoplasm: positive factors about 1, correlated over 2 to 7 px."""
    logs = np.zeros(shape)
    for sigma, strength in ((2.0, 0.10), (7.0, 0.22)):
        noise = gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
        logs += strength * noise / noise.std()
    return np.exp(logs)


def _draw_shape(rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """Draw one cell: a soft, irregular, elongated dome with a darker nucleus.

    Returns
    -------
    shape : ndarray of float64, shape (160, 160)
        Relative thickness, the cell's centre at [80, 80].
    radius : float
        Radius in px of a circle of about the cell's area.
    """
    radius = _CELL_PX * float(np.clip(rng.lognormal(0, 0.18), 0.65, 1.45))
    stretch = np.sqrt(np.clip(rng.lognormal(0.35, 0.25), 1, 2.2))
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-_HALF_WINDOW_PX:_HALF_WINDOW_PX, -_HALF_WINDOW_PX:_HALF_WINDOW_PX]
    along = (x * np.cos(angle) + y * np.sin(angle)) / stretch
    across = (y * np.cos(angle) - x * np.sin(angle)) * stretch
    angles = np.linspace(-np.pi, np.pi, 181)
    waves = sum(rng.normal(0, 0.16 / (k - 0.5)) * np.cos(k * angles + rng.uniform(0, 2 * np.pi)) for k in range(2, 6))
    outline = np.interp(np.arctan2(across, along), angles, np.clip(1 + waves, 0.6, 1.35))
    edge = np.hypot(across, along) / (radius * outline)
    shape = expit((1 - edge) / 0.05) * (0.3 + 0.7 * np.clip(1 - edge**2, 0, None))
    dy, dx = rng.normal(0, 0.12 * radius, 2)
    nucleus = np.hypot(along - dx, 1.15 * (across - dy)) / (rng.uniform(0.36, 0.44) * radius)
    return shape * (1 - rng.uniform(0.35, 0.6) * expit((1 - nucleus) / 0.08)), radius


def _concentrate(
    shape: NDArray[np.float64], kind: Kind, params: PlateParams, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Move a fraction of a cell's signal into puncta, and return where its globs are; the sum stays 1."""
    parts = [(params.granule_fraction * rng.lognormal(-0.18, 0.6), 10.0, (0.5, 1.2))]
    if kind == "globs":
        parts.append((params.glob_fraction * rng.lognormal(-0.03, 0.25), params.globs_per_cell, (0.9, 2.4)))
    out, left, globs = np.zeros_like(shape), 1.0, np.zeros((0, 2))
    for index, (wanted, number, sigmas) in enumerate(parts):
        part = min(wanted, 0.95 * left)
        spots, places = _puncta(shape, 2 + rng.poisson(max(number - 2, 0)), sigmas, rng)
        out += part * spots
        left -= part
        globs = places if index else globs
    return out + left * shape, globs


def _puncta(
    shape: NDArray[np.float64], number: int, sigmas: tuple[float, float], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Set Gaussian spots into a cell, more where it is thick; return them, of sum 1, and their centres (n, 2)."""
    side = shape.shape[1]
    # Squared, so that few lie at the thin rim, where they would look like dirt beside the cell.
    chance = np.cumsum(shape.ravel() ** 2)
    flat = np.searchsorted(chance, rng.uniform(0, chance[-1], number))
    y, x = (at + rng.uniform(-0.5, 0.5, number) for at in np.divmod(flat, side))
    sigma = rng.uniform(*sigmas, number)
    weight = rng.lognormal(0, 0.4, number) * sigma**2
    axis = np.arange(side)
    spots = [
        np.exp(-0.5 * ((axis - at[:, None]) / sigma[:, None]) ** 2) for at in (y, x)
    ]  # a Gaussian is the product of its profiles
    spots = [profile / profile.sum(axis=1, keepdims=True) for profile in spots]
    return np.einsum("n,ny,nx->yx", weight / weight.sum(), *spots, optimize=True), np.column_stack([y, x])


def _illumination(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Make the lamp's unevenness: 1 near the middle, about a third less in the corners."""
    middle = rng.normal(0.5, 0.04, 2)
    y, x = (np.arange(size) / size - m for m in middle)
    return np.asarray(1 - 0.65 * (y[:, None] ** 2 + x[None, :] ** 2)).clip(0.3)
