"""The images within one file: fields, and the overviews, labels and thumbnails beside them, which are no fields."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.common.findings import counted

SceneKind = Literal["field", "overview", "label", "thumbnail", "image of another file"]

SEVERAL_IMAGES = "the file holds"
"""How the note of a :class:`SourceImage` begins whose file has other fields, which were not read."""
_SHOWN = 3
_NAMED: tuple[tuple[str, SceneKind], ...] = (
    (r"macro|overview|map|preview|slide", "overview"), ("label|barcode", "label"), ("thumb|thumbnail", "thumbnail"),
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """One image of a file.

    Parameters
    ----------
    index
        What ``read_image(scene=)`` takes.
    name
        What the file calls it, or empty.
    kind
        ``"field"``, or why it is none.
    """

    index: int
    name: str = ""
    kind: SceneKind = "field"

    def __str__(self) -> str:
        return f"{self.index} {self.name!r}" if self.name else str(self.index)


def kind_of_name(name: str) -> SceneKind:
    """Tell by its name whether an image is a field: not where it is called macro, overview, label or thumbnail."""
    words = set(re.findall("[a-z]+", name.casefold()))
    return next((kind for pattern, kind in _NAMED if any(re.fullmatch(pattern, word) for word in words)), "field")


def fields_of(scenes: Sequence[Scene]) -> list[Scene]:
    """Return the fields among the images of a file; where none is a field, all of them."""
    own = [scene for scene in scenes if scene.kind != "image of another file"] or list(scenes)
    return [scene for scene in own if scene.kind == "field"] or own


def choose_scene(file_name: str, scenes: Sequence[Scene], scene: int | None) -> tuple[int, tuple[str, ...]]:
    """Choose an image of a file: the one asked for, else the first field, and say what is left out then.

    Raises
    ------
    ImageError
        The file does not hold the image.
    """
    if scene is not None:
        if not 0 <= scene < len(scenes):
            have = "1, only image 0" if len(scenes) == 1 else f"{len(scenes)}, 0 to {len(scenes) - 1}"
            raise ImageError(f"{file_name} has no image {scene}; it has {have}")
        return scene, ()
    fields = fields_of(scenes)
    notes = []
    if len(fields) > 1:
        listed = ", ".join(map(str, fields[:_SHOWN])) + " …" * (len(fields) > _SHOWN)
        notes.append(
            f"{SEVERAL_IMAGES} {len(fields)} images, {listed}; image {fields[0].index} was read, choose with --scene"
        )
    return fields[0].index, (*notes, *left_out_note(scenes))


def left_out_note(scenes: Sequence[Scene]) -> tuple[str, ...]:
    """Say which images of a file, or of several, are no fields; empty where all are."""
    counts = Counter(scene.kind for scene in scenes if scene.kind not in ("field", "image of another file"))
    if not counts or not any(scene.kind == "field" for scene in scenes):
        return ()
    listed = " and ".join(counted(n, kind) for kind, n in counts.items())
    return (f"{listed} beside the fields left out; choose with --scene",)
