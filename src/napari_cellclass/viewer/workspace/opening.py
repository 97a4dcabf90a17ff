"""A field is opened for labelling: its grid, earlier labels and classes, read outside the window's thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.classes import ClassScheme, palette
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.labels.label_store import UNLABELLED
from napari_cellclass.core.labels.session_store import labels_of_other_grids, last_tile_px
from napari_cellclass.core.params.shared import TileParams
from napari_cellclass.core.tiles.tile_size import TileSizeProposal, propose_tile_size
from napari_cellclass.viewer.common.preferences import class_palette

HIDDEN = "hidden"
"""In the notes on labels that are there and not shown."""
PLACEHOLDERS = ("class 1", "class 2")
"""The classes that work starts with, until others are named."""


def first_scheme() -> ClassScheme:
    """Give the classes that work starts with, in the colours that the user prefers."""
    return ClassScheme(PLACEHOLDERS, palette(len(PLACEHOLDERS), class_palette()))


@dataclass(frozen=True)
class FileLocation:
    """The file, channels and plane that hold a field; no channels are all of them."""

    path: Path
    channels: tuple[int, ...] = ()
    t: int = 0
    z: int = 0


@dataclass(frozen=True, eq=False)
class OpenedField:
    """A field that is ready to be labelled.

    Parameters
    ----------
    source, annotation
        The field, and its labels with grid and classes.
    notes
        Sentences for the user: why the tiles have this size, which labels came back, which are hidden.
    location
        Where the field can be read from again; None where that was not asked for, or it is in no file.
    """

    source: SourceImage
    annotation: Annotation
    notes: tuple[str, ...]
    location: FileLocation | None = None


def open_field(
    source: SourceImage,
    journal: Journal,
    tile_px: int | None = None,
    overlap: float = 0.0,
    scheme: ClassScheme | None = None,
    path: Path | None = None,
    usual_px: int | None = None,
    proposal: TileSizeProposal | None = None,
    task: Task = NO_TASK,
) -> OpenedField:
    """Lay the grid over a field and restore what was labelled in it. In any thread: every pixel is read.

    Parameters
    ----------
    source
        The field.
    journal
        Where labels are kept.
    tile_px, overlap
        Side of a tile in px, and the fraction it shares with its neighbour; None for the tiles that were labelled last
        in this image, or else those that are proposed from its pixels.
    scheme
        The classes of the work so far, which a field without labels gets.
    path
        The file in which the field is searched, to be read from again; None not to search.
    usual_px
        Side of a tile where none was given and none was labelled, such as that of the model that is chosen.
    proposal
        What is proposed where no other size is known; None to propose it from the pixels.

    Raises
    ------
    ImageError, DatasetError, GridError, ParamsError
        The image or the journal cannot be read, or the tile does not fit.
    """
    image = ImageKey(source.image_id, source.name, source.path)
    entries, _ = journal.read(image.image_id)
    task.check("opening a field")
    notes = []
    if tile_px is None:
        earlier = last_tile_px(entries)
        if earlier is not None and earlier[0] == earlier[1]:
            tile_px = earlier[0]
            notes.append(f"{tile_px} px tiles, as they were labelled before.")
        elif usual_px is not None and usual_px <= min(source.shape):
            tile_px = usual_px
        else:
            proposal = proposal or propose_tile_size(source)
            tile_px = proposal.tile_px
            notes.append(proposal.reason + ".")
    grid = TileParams.checked(tile_px=tile_px, overlap=overlap).grid(source)
    annotation = Annotation.restore(image, grid, journal)
    if annotation is None:
        annotation = Annotation(image, grid, scheme or ClassScheme(PLACEHOLDERS), journal)
    else:
        n = int((annotation.labels != UNLABELLED).sum())
        notes.append(f"{n:,} earlier {'label is' if n == 1 else 'labels are'} shown.")
    notes += describe_hidden(labels_of_other_grids(entries, grid))
    location = None if path is None else locate_in_file(source, path)
    return OpenedField(source, annotation, tuple(notes), location)


def locate_in_file(source: SourceImage, path: Path) -> FileLocation | None:
    """Find which channels and plane of a file a field is, by its pixels; None where it is none of them."""
    t, z = source.plane.get("T", 0), source.plane.get("Z", 0)
    try:
        whole = read_image(path, t=t, z=z)
        if whole.image_id == source.image_id:
            return FileLocation(path, (), t, z)
        for channel in range(whole.channels if whole.channels > 1 and source.channels == 1 else 0):
            if whole.select((channel,)).image_id == source.image_id:
                return FileLocation(path, (channel,), t, z)
    except CellClassError:
        return None
    return None


def describe_hidden(labels: Mapping[tuple[int, int], int]) -> list[str]:
    """Say which labels are not shown, as they are of other tiles: their number by (height, width) of a tile in px."""
    notes = []
    for (height, width), n in sorted(labels.items()):
        side = f"{height} px" if height == width else f"{width} x {height} px"
        word, verb = ("label", "is") if n == 1 else ("labels", "are")
        notes.append(f"{n:,} {word} of {side} tiles {verb} {HIDDEN}; that tile size shows them.")
    return notes
