"""How fast fields are classified, and how much memory that takes.

    python benchmarks/speed.py              all of it
    python benchmarks/speed.py --part tiles|networks|size|memory|int8

`tiles`: 8192 x 8192 px RGB, from the file to the map, against OpenVINO alone on tiles in memory, and against Keras on
tiles that were saved as PNG. `networks`: pretrained features, compact and the article's network. `size`: time per tile
of fields of 1000 and of 100 000 tiles. `memory`: peak memory of the command line on 20 000 and on 100 000 px a side.
`int8`: an int8 network against float32. Files that are kept for the next run go to ``--work``.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import zarr
from PIL import Image

from _results import markdown, write_section
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import ModelBundle, open_bundle
from napari_cellclass.core.models.int8_report import Int8Report
from napari_cellclass.core.params.shared import PrecisionName
from napari_cellclass.core.samples.realfield import IHC_TILE_PX, ihc_field, write_ihc_dataset
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.engine.common.environment import import_openvino
from napari_cellclass.engine.inference.openvino_graph import cpu_count
from napari_cellclass.runs.classify.field import classify_field
from napari_cellclass.runs.common.engine_access import KerasDetails, load_model, open_engine

HERE = Path(__file__).parent
_SIDE, _TILE_PX = 8192, 256
_ROUNDS = 5
_INT8_TILES, _INT8_ROUNDS = 128, 9
_INT8_MODELS = {
    "deep-50 as published": ["--as-published"],
    "deep-50": ["--network", "deep-50", "--standardise", "tile", "--epochs", "9", "--texture", "off"],
    "compact": ["--input-px", "128", "--standardise", "tile", "--texture", "off"],
}
_NETWORKS_SIDE, _NETWORKS_PX = 4096, 128
_NETWORKS = {
    "pretrained": ["--network", "pretrained"],
    "compact": ["--network", "compact", "--texture", "off", "--standardise", "none", "--epochs", "1"],
    "compact, standardised": ["--network", "compact", "--texture", "off", "--standardise", "tile", "--epochs", "1"],
    "as published": ["--as-published", "--epochs", "1"],
}


def network(work: Path, name: str) -> Path:
    """Give an untrained network's Keras file."""
    path = work / f"{name}.keras"
    if not path.exists():
        subprocess.run([sys.executable, HERE / "_speed_child.py", "networks", work], check=True)
    return path


def bundle_of(path: Path) -> ModelBundle:
    return load_model(path, KerasDetails(("a", "b"), 255.0, _TILE_PX))


def field_pixels() -> np.ndarray:
    """Repeat scikit-image's real field, with a camera's noise so that it cannot be packed as repetitions."""
    times = _SIDE // 512
    pixels = np.tile(np.asarray(ihc_field().data), (times, times, 1))
    rng = np.random.default_rng(0)
    for row in pixels:
        row[:] = np.clip(row + rng.integers(-2, 3, row.shape, np.int16), 0, 255)
    return pixels


def write_fields(work: Path) -> dict[str, Path]:
    """Write scikit-image's real field, repeated, as files of three kinds and as PNG tiles."""
    names = {
        "tiled TIFF": "field.tif",
        "tiled TIFF, zlib": "zlib.tif",
        "OME-Zarr, zstd": "field.zarr",
        "PNG": "field.png",
    }
    paths = {name: work / file for name, file in names.items()}
    tiles = work / "tiles"
    if tiles.exists():
        return paths
    pixels = field_pixels()
    for name, compression in (("tiled TIFF", None), ("tiled TIFF, zlib", "zlib")):
        tifffile.imwrite(paths[name], pixels, tile=(256, 256), compression=compression, photometric="rgb")
    group = zarr.open_group(paths["OME-Zarr, zstd"], mode="w", zarr_format=3)
    array = group.create_array("0", shape=(3, _SIDE, _SIDE), chunks=(3, 512, 512), dtype="uint8")
    array[:] = np.moveaxis(pixels, 2, 0)
    axes = [{"name": "c", "type": "channel"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    entry = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [entry]}
    Image.fromarray(pixels).save(paths["PNG"], compress_level=1)
    partial = work / "tiles.partial"
    partial.mkdir(exist_ok=True)
    grid = TileGrid.regular((_SIDE, _SIDE), _TILE_PX)
    for number, (y0, x0, y1, x1) in enumerate(grid.boxes.tolist()):
        Image.fromarray(pixels[y0:y1, x0:x1]).save(partial / f"{number:05d}.png", compress_level=1)
    partial.rename(tiles)
    return paths


def bare(bundle: ModelBundle, tiles: np.ndarray) -> Callable[[], float]:
    """Make what runs OpenVINO alone on tiles (n, h, w, C) in memory, as fast as it goes; it gives the seconds."""
    ov = import_openvino()
    model = ov.Core().read_model(bundle.member("model.xml"), bundle.member("model.bin"))
    model.reshape([1, _TILE_PX, _TILE_PX, 3])
    steps = ov.preprocess.PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8)
    steps.input().preprocess().convert_element_type(ov.Type.f32).scale(255.0)
    settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    requests = ov.AsyncInferQueue(ov.Core().compile_model(steps.build(), "CPU", settings))

    def run() -> float:
        start = time.perf_counter()
        for tile in tiles:
            requests.start_async({0: tile[None]}, share_inputs=True)
        requests.wait_all()
        return time.perf_counter() - start

    return run


def tiles_part(work: Path) -> tuple[str, str]:
    """Classify the same field from files of every kind, by OpenVINO alone, and by Keras, in turn."""
    paths = write_fields(work)
    keras_file = network(work, "deep-50")
    bundle = bundle_of(keras_file)
    grid = TileGrid.regular((_SIDE, _SIDE), _TILE_PX)
    pixels = field_pixels()
    alone = bare(bundle, np.stack([pixels[y0:y1, x0:x1] for y0, x0, y1, x1 in grid.boxes.tolist()]))
    del pixels
    command = [sys.executable, HERE / "_speed_child.py", "predict", keras_file, work / "tiles"]
    seconds: dict[str, list[float]] = {name: [] for name in ("OpenVINO alone", *paths, "Keras")}
    with (
        open_engine(bundle) as engine,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None

        def ours(path: Path) -> float:
            start = time.perf_counter()
            assert classify_field(read_image(path), bundle, engine, grid).complete
            return time.perf_counter() - start

        def keras() -> float:
            print(file=child.stdin, flush=True)
            return float(child.stdout.readline())

        alone(), ours(paths["tiled TIFF"]), keras()
        for _ in range(_ROUNDS):
            seconds["OpenVINO alone"].append(alone())
            for name, path in paths.items():
                seconds[name].append(ours(path))
            seconds["Keras"].append(keras())
    rates = {name: [len(grid) / s for s in times] for name, times in seconds.items()}
    middle = {name: float(np.median(values)) for name, values in rates.items()}
    table = pd.DataFrame(
        {
            "from": list(rates),
            "tiles/s": [f"{middle[name]:.0f}" for name in rates],
            "range": [f"{min(values):.0f} to {max(values):.0f}" for values in rates.values()],
            "of OpenVINO alone": [f"{middle[name] / middle['OpenVINO alone']:.2f}" for name in rates],
            "times Keras": [f"{middle[name] / middle['Keras']:.1f}" for name in rates],
        }
    )
    about = f"""`python benchmarks/speed.py --part tiles`. A field of {_SIDE} x {_SIDE} px, RGB, 8 bits (scikit-image's
real field, repeated, with noise), {len(grid)} tiles of {_TILE_PX} px, the article's `deep-50`, {cpu_count()} cores.
From the file to the finished table: decoding, cutting, hash, brightness and contrast of every tile. *OpenVINO alone*:
the same tiles as arrays in memory, nothing else. *Keras*: the tiles as PNG files, `image_dataset_from_directory` and
`predict`, without the import and without cutting them. Medians of {_ROUNDS} rounds in turn, and the range."""
    return "Speed of classification", f"{about}\n\n{markdown(table)}"


def trained(work: Path, kind: str, name: str) -> ModelBundle:
    """Train a network on fields of two classes, sharp and blurred: how fast it is depends on no weight."""
    path = work / f"networks-{kind}-{name}.cellclass"
    if not path.exists():
        data = work / f"networks-{kind}"
        for number in range(4):
            pixels = np.asarray(ihc_field().data)[128 * number : 128 * (number + 1)]
            pixels = pixels if kind == "RGB" else pixels.mean(axis=2).astype(np.uint8)
            for class_name, shown in (("sharp", pixels), ("blurred", (pixels // 2 + np.roll(pixels, 3, 1) // 2))):
                (data / class_name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(shown).save(data / class_name / f"{number}.png")
        words = ["train", data, "--out", path, "--tile-px", _NETWORKS_PX, "--quiet", *_NETWORKS[name]]
        subprocess.run([sys.executable, "-m", "napari_cellclass", *map(str, words)], check=True)
    return open_bundle(path)


def networks_part(work: Path) -> tuple[str, str]:
    """Classify the same field in memory with every network, in turn."""
    rows = []
    for kind in ("grey", "RGB"):
        pixels = field_pixels()[:_NETWORKS_SIDE, :_NETWORKS_SIDE]
        field = SourceImage(pixels if kind == "RGB" else pixels[..., :1].copy(), "field")
        grid = TileGrid.regular(field.shape, _NETWORKS_PX)
        wall: dict[str, list[float]] = {name: [] for name in _NETWORKS}
        processor: dict[str, list[float]] = {name: [] for name in _NETWORKS}
        bundles = {name: trained(work, kind, name) for name in _NETWORKS}
        with contextlib.ExitStack() as opened:
            engines = {name: opened.enter_context(open_engine(bundle)) for name, bundle in bundles.items()}
            for turn in range(_ROUNDS + 1):
                for name, bundle in bundles.items():
                    start = time.perf_counter(), time.process_time()
                    assert classify_field(field, bundle, engines[name], grid).complete
                    if turn:  # the first is a warm-up
                        wall[name].append(time.perf_counter() - start[0])
                        processor[name].append(time.process_time() - start[1])
        rows += [
            {
                "tiles": kind, "network": name, "tiles/s": f"{len(grid) / np.median(wall[name]):.0f}",
                "range": f"{len(grid) / max(wall[name]):.0f} to {len(grid) / min(wall[name]):.0f}",
                "processor time, ms a tile": f"{np.median(processor[name]) / len(grid) * 1e3:.2f}",
                "of compact": f"{np.median(np.divide(processor[name], processor['compact'])):.1f}",
            }
            for name in _NETWORKS
        ]  # fmt: skip
    about = f"""`python benchmarks/speed.py --part networks`. A field of {_NETWORKS_SIDE} x {_NETWORKS_SIDE} px,
in memory, 8 bits (scikit-image's real field, repeated, with noise), {len(grid)} tiles of {_NETWORKS_PX} px,
{cpu_count()} cores. *pretrained*: linear models on pretrained features and texture, the default; *compact*: the network
alone, as a fast copy is; *standardised*: it scales each tile to one brightness first, as it does by default; *as
published*: the article's network. *processor time*: of all threads, which other load on the machine changes least; *of
compact*: its ratio. Medians of {_ROUNDS} rounds in turn, and the range."""
    return "Speed of the networks", f"{about}\n\n{markdown(pd.DataFrame(rows))}"


def virtual(rows: int, columns: int) -> SourceImage:
    """Make a field of so many tiles whose pixels are made when they are asked for."""
    import dask.array as da

    y = (da.arange(rows * _TILE_PX, chunks=_TILE_PX) % 256).astype("uint8")[:, None, None]
    x = (da.arange(columns * _TILE_PX, chunks=8 * _TILE_PX) % 256).astype("uint8")[None, :, None]
    return SourceImage(y + x + da.arange(3, chunks=3, dtype="uint8"), "virtual")


def size_part(work: Path) -> tuple[str, str]:
    """Compare the time per tile of a small and a large field, with a network that does next to nothing."""
    bundle = bundle_of(network(work, "next-to-nothing"))
    fields = {"1 000": (25, 40), "100 000": (250, 400)}
    times: dict[str, list[float]] = {name: [] for name in fields}
    with open_engine(bundle) as engine:

        def per_tile(shape: tuple[int, int]) -> float:
            source = virtual(*shape)
            grid = TileGrid.regular(source.shape, _TILE_PX)
            start = time.perf_counter()
            classify_field(source, bundle, engine, grid)
            return (time.perf_counter() - start) / len(grid) * 1e3

        per_tile(fields["1 000"])
        for _ in range(3):
            times["1 000"] += [per_tile(fields["1 000"]) for _ in range(5)]
            times["100 000"].append(per_tile(fields["100 000"]))
    table = pd.DataFrame(
        {
            "tiles": list(times),
            "ms per tile": [f"{np.median(values):.3f}" for values in times.values()],
            "range": [f"{min(values):.3f} to {max(values):.3f}" for values in times.values()],
        }
    )
    ratio = np.median(times["100 000"]) / np.median(times["1 000"])
    about = f"""`python benchmarks/speed.py --part size`. A dask array of RGB pixels made as they are read; a network
that does next to nothing, so that all the rest shows. Each of 100 000 tiles takes {ratio:.2f} times as long."""
    return "Time per tile by the size of the field", f"{about}\n\n{markdown(table)}"


def memory_part(work: Path) -> tuple[str, str]:
    """Compare the peak memory of the command line on a large and on a huge field."""
    keras_file = network(work, "next-to-nothing")
    bundle_of(keras_file)  # converted before, so that TensorFlow's memory does not count
    rows = []
    for side in (20_000, 100_000):
        path = work / f"virtual_{side}.zarr"
        if not path.exists():  # no chunk is written: all pixels are the fill value
            zarr.create_array(path, shape=(side, side, 3), chunks=(1024, 1024, 3), dtype="uint8", fill_value=7)
        words = ["classify", path, "--model", keras_file, "--quiet"]
        words += ["--classes", "a,b", "--rescale", "255", "--tile-px", _TILE_PX]
        with tempfile.TemporaryDirectory() as out:  # a new one, as what is there would not be made again
            start = time.perf_counter()
            peak = peak_mb([sys.executable, "-m", "napari_cellclass", *map(str, words), "--out", out])
        rows.append({"px a side": side, "tiles": (side // _TILE_PX) ** 2, "peak MB": f"{peak:.0f}"})
        rows[-1]["seconds"] = f"{time.perf_counter() - start:.0f}"
        print(rows[-1], flush=True)
    about = """`python benchmarks/speed.py --part memory`. `napari-cellclass classify` on an RGB Zarr without
chunks, in a process of its own: the most memory it held (resident set), from start to written tables."""
    return "Peak memory by the size of the field", f"{about}\n\n{markdown(pd.DataFrame(rows))}"


def peak_mb(command: list[str]) -> float:
    """Run a command and give the most memory that it held, in MB."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1]) / (1e6 if sys.platform == "darwin" else 1e3)


def quantised_model(work: Path, name: str) -> ModelBundle:
    """Train on the tiles of scikit-image's real field, with an int8 network."""
    path = work / f"int8-{name.replace(' ', '-')}.cellclass"
    if not path.exists():
        grid = TileGrid.regular(ihc_field().shape, IHC_TILE_PX)
        write_ihc_dataset(work / "ihc", grid, np.ones(len(grid), bool))
        words = ["train", work / "ihc", "--out", path, "--group-by", r"_(c\d+)", "--quiet", "--precision", "int8"]
        line = [sys.executable, "-m", "napari_cellclass", *map(str, words), *_INT8_MODELS[name]]
        subprocess.run(line, check=True)
    return open_bundle(path)


def both_speeds(bundle: ModelBundle) -> dict[PrecisionName, list[float]]:
    """Give tiles/s of both networks of a model on the same tiles of its input's size in memory, in turn."""
    pixels, input_px = field_pixels(), bundle.preprocess.input_px
    boxes = TileGrid.regular((_SIDE, _SIDE), input_px).boxes[:_INT8_TILES].tolist()
    tiles = np.stack([pixels[y0:y1, x0:x1] for y0, x0, y1, x1 in boxes])
    rates: dict[PrecisionName, list[float]] = {"f32": [], "int8": []}
    with open_engine(bundle) as f32, open_engine(bundle, precision="int8") as int8:
        for number in range(_INT8_ROUNDS + 1):
            for engine in (f32, int8):
                start = time.perf_counter()
                engine.predict(tiles)
                if number:  # the first is not counted
                    rates[engine.precision].append(len(tiles) / (time.perf_counter() - start))
    return rates


def int8_part(work: Path) -> tuple[str, str]:
    """Compare speed and figures of the int8 and the float32 network of models."""
    rows, title = [], "Int8-quantised networks"
    for name in _INT8_MODELS:
        bundle = quantised_model(work, name)
        about = bundle.manifest.quantised
        assert about is not None
        if not bundle.has_int8:
            return title, f"Not measured: {name}: {about.warning}."
        rates = both_speeds(bundle)
        ratios = np.divide(rates["int8"], rates["f32"])
        rows.append(
            {
                "network": name, "input": "{} x {} px".format(*bundle.preprocess.input_px),
                **{f"{kind}, tiles/s": f"{np.median(values):.0f}" for kind, values in rates.items()},
                "int8 / f32": f"{np.median(ratios):.2f}", "range": f"{ratios.min():.2f} to {ratios.max():.2f}",
                "held-out tiles": about.compared, "of another class": about.changed,
                "largest difference": f"{about.largest_difference:.2g}", "mean": f"{about.mean_difference:.2g}",
            }
        )  # fmt: skip
    figures = [
        {
            "network": name, "figure": one.name, "f32": f"{one.f32:.4f}", "int8": f"{one.int8:.4f}",
            "95 % confidence interval of f32": "none" if one.lo is None else f"{one.lo:.4f} to {one.hi:.4f}",
            "inside": "yes" if one.in_interval else "no",
        }
        for name in _INT8_MODELS
        for one in (quantised_model(work, name).manifest.quantised or Int8Report.not_stored("")).figures
    ]  # fmt: skip
    about_all = f"""`python benchmarks/speed.py --part int8`. Models trained with `--precision int8` on all tiles of
scikit-image's real field, RGB, whole columns held out: *deep-50 as published* with `--as-published`, *deep-50* by the
recipe with 9 epochs, *compact* with an input of 128 px; the recipe's networks standardise tiles, in float32 in both.
Without texture features, which may join where tiles are as few as here, and which are float32 too.
Speed: the same {_INT8_TILES} tiles of the input's size in memory, by the program's own engine with its preparation of
pixels, both networks in turn, {_INT8_ROUNDS} rounds on {cpu_count()} core(s); medians, and the range of the
rounds' ratios. Where tiles are resized before the network, which is float32 too, less is gained. *Difference*: of a
probability."""
    return title, f"{about_all}\n\n{markdown(pd.DataFrame(rows))}\n\n{markdown(pd.DataFrame(figures))}"


PARTS = {"tiles": tiles_part, "networks": networks_part, "size": size_part, "memory": memory_part, "int8": int8_part}


def main() -> None:
    """Measure and write the sections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=list(PARTS), action="append")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "napari-cellclass-speed")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    for name in given.part or PARTS:
        title, text = PARTS[name](given.work)
        write_section(given.out, title, text)
        print(f"{title}\n{text}\n", flush=True)


if __name__ == "__main__":
    main()
