"""Write over older files where a file may have 600 bytes only, as on a disk that fills in the middle: ``FOLDER``."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import job_files
import numpy as np

from napari_cellclass.core.common.errors import OutputError
from napari_cellclass.core.common.files import write_json, write_text
from napari_cellclass.core.interchange.coco import write_table_coco
from napari_cellclass.core.interchange.label_files import write_labels_csv
from napari_cellclass.core.interchange.tile_tables import write_wsinfer_csv
from napari_cellclass.core.labels.label_file import AnnotationFile, ImageKey
from napari_cellclass.core.models.bundle import open_bundle, write_bundle

BYTES = 600


def writers(folder: Path) -> dict[str, Callable[[Path], object]]:
    """Give what writes a file of more than ``BYTES``, by the file's name."""
    table, bundle = job_files.table(), open_bundle(job_files.good_bundle(folder))
    parts = {name: bundle.member(name) for name in bundle.manifest.files}
    ids = np.arange(30)
    labels = (np.arange(len(table)) % 2).astype(np.int16)
    key = ImageKey("abc", "x.png")
    return {
        "x.tiles.csv": table.to_csv,
        "x.geojson": table.to_geojson,
        "x.csv": lambda path: write_wsinfer_csv(table, path),
        "x.coco.json": lambda path: write_table_coco(table, path, "x.png"),
        "x.tiles.json": AnnotationFile(key, job_files.GRID, job_files.SCHEME, ids, labels[:30]).write,
        "labels.csv": lambda path: write_labels_csv(path, "x.png", job_files.GRID, job_files.SCHEME, labels),
        "report.json": lambda path: write_json(path, {"x": list(range(500))}),
        "x.txt": lambda path: write_text(path, "x" * 5000),
        "m.cellclass": lambda path: write_bundle(path, bundle.manifest, parts),
    }


def main() -> None:
    """Print what became of each writing: the error's text, or that there was none."""
    folder = Path(sys.argv[1])
    todo = writers(folder)
    place = folder / "results"
    place.mkdir()
    for name in todo:
        (place / name).write_text("the older one")
    resource.setrlimit(resource.RLIMIT_FSIZE, (BYTES, BYTES))
    told = {}
    for name, write in todo.items():
        try:
            write(place / name)
            told[name] = "no error"
        except OutputError as error:
            told[name] = str(error)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
