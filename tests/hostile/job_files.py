"""Spoilt models, tables, annotations and journals, and some that were made by an enemy."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import corpus
import h5py
import numpy as np
import pandas as pd
import watch as watching

from napari_cellclass.cli.info import describe
from napari_cellclass.core.blind.container import SealedEnvelope, encode_png, read_tile_png, write_blind_file
from napari_cellclass.core.blind.session import BlindSession
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.datasets.renaming import JOURNAL, undo_renaming
from napari_cellclass.core.datasets.tile_provenance import TileOrigins
from napari_cellclass.core.datasets.tiles_csv import read_tiles_csv
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.interchange.coco import read_coco, write_table_coco
from napari_cellclass.core.interchange.geojson import read_geojson
from napari_cellclass.core.interchange.tile_tables import read_table_csv, read_tile_geojson, write_wsinfer_csv
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.label_file import AnnotationFile, ImageKey
from napari_cellclass.core.labels.points_and_boxes import read_boxes_csv, read_points_csv
from napari_cellclass.core.models.bundle import Manifest, open_bundle, write_bundle
from napari_cellclass.core.models.feature_spec import FeatureSpec
from napari_cellclass.core.params.settings_file import read_settings, write_settings
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.plates.conditions import ConditionList
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.preprocess import PreprocessSpec
from napari_cellclass.core.workspace.labels import LOG, ProjectLabels
from napari_cellclass.core.workspace.project import Project
from napari_cellclass.engine.features.store import FeatureStore
from napari_cellclass.engine.features.weights import read_checkpoint
from napari_cellclass.engine.networks.config_check import inspect_keras_file
from napari_cellclass.engine.networks.weights_check import check_weights

GRID = TileGrid.regular((40, 56), 8)
SCHEME = ClassScheme(("grain", "=spots"))
FEATURES = FeatureSpec(
    preprocess=PreprocessSpec(channels=1, input_px=(8, 8)), backbone=None, texture_version=1, columns=(0, 5)
)
KEPT = np.random.default_rng(5).normal(size=(len(GRID), 5)).astype(np.float32)


def keras_config(*layers: dict[str, Any]) -> dict[str, Any]:
    """Give the configuration of a small network, as Keras 3 writes it."""
    entrance = {"module": "keras.layers", "class_name": "InputLayer", "registered_name": None,
                "config": {"batch_shape": [None, 8, 8, 1], "dtype": "float32", "name": "in"}, "name": "in"}  # fmt: skip
    pool = {"module": "keras.layers", "class_name": "GlobalAveragePooling2D", "registered_name": None,
            "config": {"name": "pool", "data_format": "channels_last"}, "name": "pool"}  # fmt: skip
    dense = {"module": "keras.layers", "class_name": "Dense", "registered_name": None,
             "config": {"name": "out", "units": 2, "activation": "softmax"}, "name": "out"}  # fmt: skip
    return {"module": "keras", "class_name": "Sequential", "registered_name": "Sequential",
            "config": {"name": "s", "trainable": True, "layers": [entrance, *layers, pool, dense]},
            "build_config": {"input_shape": [None, 8, 8, 1]}}  # fmt: skip


ENEMY_LAYERS: tuple[dict[str, Any], ...] = tuple(
    {"module": module, "class_name": name, "registered_name": registered, "config": config, "name": "x"}
    for module, name, registered, config in (
        ("keras.layers", "Lambda", None, {"function": {"class_name": "__lambda__", "config": {"code": "eA=="}}}),
        ("keras.layers", "TFSMLayer", None, {"filepath": "/tmp/evil"}),
        ("builtins", "eval", None, {}),
        ("os", "system", None, {"command": "touch evil"}),
        ("keras.utils", "get_file", None, {"origin": "http://127.0.0.1:9/evil"}),
        ("keras.src.ops.numpy", "Evil", "package>Evil", {}),
        (None, "Mine", "mine>Mine", {}),
        ("keras.layers", "StringLookup", None, {"vocabulary": "/etc/passwd"}),
        ("keras.layers", "Dense", None, {"activation": {"module": "os", "class_name": "function", "config": "x"}}),
        ("keras.layers", "Dense", None, {"kernel_initializer": {"class_name": "__lambda__", "config": {}}}),
        ("keras.layers", "../layers", None, {}),
        (["keras.layers"], "Dense", None, {}), ("keras.layers", ["Dense"], None, {}), ("keras.layers", {}, None, {}),
    )
)  # fmt: skip


def weights(fill: Callable[[Any], None] | None = None) -> bytes:
    """Give an HDF5 file as Keras keeps weights in; ``fill`` adds to it."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        group = file.create_group("layers/dense/vars")
        group.create_dataset("0", data=np.zeros((4, 2), np.float32))
        if fill:
            fill(file)
    return stream.getvalue()


def _virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4,))
    file.create_virtual_dataset("layers/virtual", layout)


def enemy_weights() -> list[bytes]:
    """Give weights that lead elsewhere, or are larger than any disk."""

    def link(name: str, target: Any) -> Callable[[Any], None]:
        return lambda file: file.__setitem__(name, target)

    return [
        weights(link("layers/dense/vars/1", h5py.ExternalLink("/etc/passwd", "/x"))),
        weights(link("layers/other", h5py.ExternalLink("../other.h5", "/"))),
        weights(link("layers/dense/vars/1", h5py.SoftLink("/layers"))),
        weights(_virtual),
        weights(lambda f: f.create_dataset("layers/x", (64,), "u1", external=[("/etc/passwd", 0, 64)])),
        weights(lambda f: f.create_dataset("layers/x", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024))),
        weights(lambda f: f.create_dataset("layers/x", (1 << 31,), "f8", chunks=(1 << 16,), compression="gzip")),
    ]


def use_keras(path: Path) -> None:
    """Look at a Keras file as is done before Keras sees it."""
    inspect_keras_file(path)
    check_weights(path)


def keras_file(*layers: dict[str, Any], stored: bytes | None = None) -> bytes:
    """Give a ``.keras`` file."""
    members = {"config.json": keras_config(*layers), "metadata.json": {"keras_version": "3.12.0"}}
    return corpus.zipped(
        [(name, json.dumps(content).encode()) for name, content in members.items()]
        + [("model.weights.h5", stored or weights())]
    )


def table() -> TileTable:
    """Give some answers."""
    rng = np.random.default_rng(1)
    first = rng.random(len(GRID)).astype(np.float32)
    return TileTable(GRID, SCHEME, np.stack([first, 1 - first], axis=1), (0.5, 0.5))


def good_bundle(folder: Path) -> Path:
    """Write a model whose network is nonsense, but whose frame is right."""
    golden = io.BytesIO()
    np.savez(golden, tiles=np.zeros((1, 8, 8, 1), np.uint8), prob=np.array([[0.5, 0.5]], np.float32))
    manifest = Manifest(
        program="test", created="2026-01-01T00:00:00Z", network="compact", parameters=1, tile_px=(8, 8),
        classes=SCHEME.to_json(), preprocess=PreprocessSpec(channels=1, input_px=(8, 8)),
        layers=[{"name": "in", "type": "InputLayer", "output": [8, 8, 1], "parameters": 0}],
        training={"seed": 1, "epochs": 2}, data={"tiles": 5}, scores={"accuracy": {"value": 0.5, "lo": 0.1, "hi": 0.9}},
    )  # fmt: skip
    members = {
        "model.keras": keras_file(), "model.xml": b"<net/>", "model.bin": bytes(64), "golden.npz": golden.getvalue(),
        "history.csv": b"epoch,loss\n1,0.5\n", "evaluation.json": b'{"validation": {"n": 5}}',
    }  # fmt: skip
    return write_bundle(folder / "good.cellclass", manifest, members).path


def use_bundle(path: Path) -> None:
    """Do with a model what ``info`` and the widgets do before a network runs."""
    bundle = open_bundle(path)
    describe(bundle)
    for name in bundle.manifest.files:
        bundle.member(name)
    bundle.golden, bundle.table("history.csv"), bundle.evaluation(), bundle.model_id


def use_blind(path: Path) -> None:
    """Open a blinded reading and look at its pictures."""
    session = BlindSession(path)
    for number in range(min(session.total, 3)):
        read_tile_png(path, number)
    session.reading("Ann").tile_image()


def use_journal(folder: Path, path: Path) -> None:
    """Restore what a journal holds."""
    journal = Journal(folder)
    journal.path("abc").write_bytes(path.read_bytes())
    Annotation.restore(ImageKey("abc", "x.png"), GRID, journal)


def use_project(folder: Path, path: Path) -> None:
    """Open a project that came with somebody's data, add a label, and write it again."""
    place = folder / "opened.cellproject"
    shutil.copy(path, place)
    with Project.open(place) as project:
        project.missing(), project.labels.counts(), project.newest_model
        project.labels.annotation(ImageKey("abc", "field.png"), GRID).label(1, 1)
        project.labels.undo()


def use_label_log(folder: Path, path: Path) -> None:
    """Open the log of labels of a project, and undo all that it holds."""
    journal = Journal(folder / "log")
    (folder / "log").mkdir(exist_ok=True)
    journal.path(LOG).write_bytes(path.read_bytes())
    labels = ProjectLabels(journal, SCHEME)
    while labels.undo() is not None:
        labels.counts()


def use_settings(path: Path) -> None:
    """Read settings and check them, as every verb does first; each names a training of this folder."""
    TrainParams.checked(**read_settings(path, TrainParams))


def use_renaming(folder: Path, path: Path) -> None:
    """Undo a renaming whose journal came with somebody's data."""
    place = folder / "renamed"
    place.mkdir(exist_ok=True)
    (place / "a_0001.png").write_bytes(b"x")
    shutil.copy(path, place / JOURNAL)
    undo_renaming(place)


def use_kept_features(folder: Path, path: Path) -> None:
    """Look up features that were kept on disk: each is as it was computed, or is not there."""
    place = folder / "kept" / f"abc-{FEATURES.key}" / "1.features"
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, place)
    found, features = FeatureStore("abc", FEATURES, folder / "kept").get(GRID.boxes)
    np.testing.assert_array_equal(features[found], KEPT[found])


def _blind_header() -> dict[str, Any]:
    return {
        "title": "t", "classes": SCHEME.to_json(), "tiles": 2, "repeats": 0, "drawn": "2026-01-01T00:00:00+00:00",
        "created": "2026-01-01T00:00:00+00:00", "total": 2,
    }  # fmt: skip


def good_files(folder: Path) -> dict[str, Path]:
    """Write a good file of every kind that is read, by kind."""
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(3)
    Image.fromarray(rng.integers(0, 256, (40, 56)).astype(np.uint8)).save(folder / "field.png")
    paths = {"bundle": good_bundle(folder), "keras": folder / "good.keras"}
    paths["keras"].write_bytes(keras_file())
    answers = table()
    for kind, write in (("table", answers.to_csv), ("tile geojson", answers.to_geojson)):
        paths[kind] = folder / f"{kind}.{'csv' if kind == 'table' else 'geojson'}"
        write(paths[kind])
    paths["wsinfer"] = folder / "wsinfer.csv"
    write_wsinfer_csv(answers, paths["wsinfer"])
    paths["coco"] = folder / "x.coco.json"
    write_table_coco(answers, paths["coco"], "field.png")
    paths["annotation"] = folder / "x.tiles.json"
    ids = np.arange(5)
    AnnotationFile(ImageKey("abc", "field.png"), GRID, SCHEME, ids, (ids % 2).astype(np.int16)).write(
        paths["annotation"]
    )
    paths["points"] = folder / "points.csv"
    paths["points"].write_text("x,y,name\n4,5,grain\n9,30,spots\n")
    paths["boxes"] = folder / "boxes.csv"
    paths["boxes"].write_text("x0,y0,x1,y1,class\n4,5,9,9,grain\n9,30,12,40,spots\n")
    paths["conditions"] = folder / "conditions.csv"
    paths["conditions"].write_text("well;condition;replicate\nA1;grain;1\nA02;spots;1\nB3;;\n")
    paths["list"] = folder / "list.csv"
    rows = [f"field.png,{8 * i},0,{8 * i + 8},8,{'grain' if i % 2 else 'spots'},w{i}" for i in range(5)]
    paths["list"].write_text("\n".join(["path,y0,x0,y1,x1,class_name,group", *rows]))
    paths["cut"] = folder / "tiles.csv"
    head = "file,class_name,source,row,col,y0,x0,y1,x1,angle,group,hash"
    paths["cut"].write_text(f"{head}\nfield.png,grain,well.tif,0,0,0,0,40,56,0,w1,abc\n")
    paths["settings"] = folder / "settings.json"
    write_settings(TrainParams.checked(data=folder, out=folder / "m.cellclass", rotate="-5:5"), paths["settings"])
    with Project.create(folder / "x.cellproject", SCHEME, 8) as project:
        added = project.add_field(read_image(folder / "field.png"))
        project.add_map(added.key, answers, "abc")
        annotation = project.labels.annotation(added.image, GRID)
        annotation.label([1, 2], [0, 1])
        annotation.add_class("third")
        annotation.merge_class(0, 1)
        annotation.undo()
    paths["project"] = project.path
    paths["label log"] = folder / "labels.jsonl"
    shutil.copy(project.labels.journal.path(LOG), paths["label log"])
    paths["checkpoint"] = folder / "weights.pth"
    paths["checkpoint"].write_bytes(checkpoints.good())
    with FeatureStore("abc", FEATURES, folder / "features") as store:
        store.put(GRID.boxes, KEPT)
    (paths["kept features"],) = (folder / "features").rglob("*.features")
    paths["renaming"] = folder / "renaming.json"
    moves = [["old.png", "a_0001.png"]]
    paths["renaming"].write_text(
        json.dumps({"state": "done", "moves": moves, "lists": [["tiles.csv", f"{head}\n", f"{head}\n"]]})
    )
    return paths


def use_conditions(path: Path) -> None:
    """Read conditions, and find those of two fields."""
    given = ConditionList.read(path)
    fields = pd.DataFrame({"image": ["A01f1.tif", "x.tif"], "stem": ["A01f1", "x"], "well": ["A01", ""]})
    given.assign(fields)
    given.notes(fields)


def jobs(folder: Path) -> dict[str, Callable[[Path], Any]]:
    """Give what is done with a file of each kind."""
    return {
        "bundle": use_bundle, "keras": use_keras, "table": read_table_csv, "wsinfer": read_table_csv,
        "tile geojson": read_tile_geojson, "geojson": read_geojson, "coco": read_coco,
        "annotation": AnnotationFile.read,
        "points": read_points_csv, "boxes": read_boxes_csv, "list": read_tiles_csv,
        "conditions": use_conditions,
        "cut": lambda path: TileOrigins([path.parent], path.name), "renaming": lambda path: use_renaming(folder, path),
        "journal": lambda path: use_journal(folder, path), "blind": use_blind, "settings": use_settings,
        "checkpoint": lambda path: read_checkpoint(path.read_bytes(), path),
        "kept features": lambda path: use_kept_features(folder, path),
        "project": lambda path: use_project(folder, path), "label log": lambda path: use_label_log(folder, path),
    }  # fmt: skip


def special_files(folder: Path) -> list[tuple[str, Path]]:
    """Write files that an enemy would make: bombs, nests, numbers that are none."""
    made: list[tuple[str, Path]] = []

    def add(kind: str, name: str, content: bytes) -> None:
        path = folder / f"{len(made)}-{name}"
        path.write_bytes(content)
        made.append((kind, path))

    for layer in ENEMY_LAYERS:
        add("keras", "enemy.keras", keras_file(layer))
        inner = {
            "module": "keras",
            "class_name": "Sequential",
            "registered_name": None,
            "config": {"name": "i", "layers": [layer]},
        }
        add("keras", "nested.keras", keras_file(inner))
    for stored in enemy_weights():
        add("keras", "weights.keras", keras_file(stored=stored))
    for name in corpus.PATHS:
        add(
            "keras",
            "path.keras",
            corpus.zipped([*corpus.members_of(folder.parent / "good" / "good.keras"), (name, b"evil")]),
        )
        add(
            "bundle",
            "path.cellclass",
            corpus.zipped([*corpus.members_of(folder.parent / "good" / "good.cellclass"), (name, b"evil")]),
        )
    good = corpus.members_of(folder.parent / "good" / "good.cellclass")
    for bomb in ("manifest.json", "golden.npz"):
        content = corpus.zipped([*((n, c) for n, c in good if n != bomb), (bomb, bytes(260 << 20))])
        add("bundle", f"bomb-{bomb}.cellclass", content)
    add(
        "keras",
        "bomb.keras",
        corpus.zipped([("config.json", b" " * (70 << 20)), ("metadata.json", b"{}"), ("model.weights.h5", b"")]),
    )
    add(
        "keras",
        "deep.keras",
        corpus.zipped([("config.json", b"[" * 200_000), ("metadata.json", b"{}"), ("model.weights.h5", b"")]),
    )
    npz = io.BytesIO()
    np.savez_compressed(npz, tiles=np.zeros((40_000, 8_000), np.uint8), prob=np.zeros((1, 2), np.float32))
    add(
        "bundle",
        "bomb-in-golden.cellclass",
        corpus.rehashed(
            corpus.zipped([*((n, c) for n, c in good if n != "golden.npz"), ("golden.npz", npz.getvalue())])
        ),
    )
    for content in checkpoints.hostile(str(folder / "evidence")).values():
        add("checkpoint", "enemy.pth", content)
    square = [[0, 0], [8, 0], [8, 8], [0, 8], [0, 0]]
    for text in (
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "[" * 100_000,
        '{"a":' * 100_000,
        "1" * 5000,
        "null",
        "[null]",
        "3",
        '"x"',
        "",
    ):
        add("geojson", "x.geojson", text.encode())
        add(
            "geojson",
            "x.geojson",
            json.dumps({"type": "Polygon", "coordinates": [square]}).replace("8", text[:4000] or "8", 1).encode(),
        )
        for kind in ("annotation", "coco", "renaming", "tile geojson", "journal", "settings", "project", "label log"):
            add(kind, "x.json", text.encode())
    million = ",".join(f"[{i % 9973},{i % 7919}]" for i in range(1_000_000))
    add("geojson", "million.geojson", f'{{"type":"Polygon","coordinates":[[{million}]]}}'.encode())
    for place in ("../evil", "/tmp/evil", "a/../../evil"):
        for moves, lists in (([["x.png", place]], []), ([[place, "x.png"]], []), ([], [[place, "a\n", "b\n"]])):
            for state in ("aside", "placing", "done"):
                add("renaming", "x.json", json.dumps({"state": state, "moves": moves, "lists": lists}).encode())
    return made


def job(watch: watching.Watch, folder: Path, rng: random.Random, count: int) -> None:
    """Use ``count`` spoilt files, and all that an enemy made."""
    good = good_files(folder / "good")
    picture = encode_png(np.zeros((8, 8, 3), np.uint8))
    order = SealedEnvelope.of({"salt": "0", "seed": 1, "order": [0, 1], "own_order": False, "tiles": []})
    good["blind"] = folder / "good" / "x.blind"
    header = {"created": "2026-01-01T00:00:00+00:00", "classes": SCHEME.to_json(), "tiles": 2, "repeats": 0}
    write_blind_file(good["blind"], header, order, None, [picture, picture])
    good["geojson"] = good["tile geojson"]
    good["journal"] = folder / "good" / "journal.jsonl"
    lines = [
        {"do": "start", "t": 1.0, "session": "s", "image": {"id": "abc", "name": "x.png"}, "classes": SCHEME.to_json()},
        {"do": "label", "t": 2.0, "session": "s", "tiles": {"1": 0, "2": 1}},
    ]
    good["journal"].write_text("".join(json.dumps(line) + "\n" for line in lines))
    use = jobs(folder)
    for kind, path in good.items():
        watch.run(f"{kind} whole", path.name, lambda kind=kind, path=path: use[kind](path))
    enemy = folder / "enemy"
    enemy.mkdir()
    made = special_files(enemy)
    watching.limit_memory()
    for kind, path in made:
        watch.run(f"{kind} enemy", path.name, lambda kind=kind, path=path: use[kind](path))
    for number in range(count):
        kind = rng.choice(sorted(good))
        path, content = good[kind], good[kind].read_bytes()
        if kind in ("bundle", "keras", "blind"):
            content = corpus.spoilt_zip(path, rng)
            if kind == "bundle" and rng.random() < 0.6:
                try:
                    content = corpus.rehashed(content)
                except Exception:  # noqa: BLE001 - spoilt too much for that
                    watch.counts["bundle not rehashed"] += 1
        elif path.suffix == ".csv":
            content = corpus.spoil_csv(content, rng)
        elif kind in ("checkpoint", "kept features"):
            content = corpus.spoil(content, rng)
        else:
            content = corpus.spoil_json(content, rng) if rng.random() < 0.7 else corpus.spoil(content, rng)
        spoilt = path.with_name(f"spoilt{''.join(path.suffixes)}")
        spoilt.write_bytes(content)
        watch.run(f"{kind} spoilt", str(number), lambda kind=kind, spoilt=spoilt: use[kind](spoilt))


if __name__ == "__main__":
    watching.main(job)
