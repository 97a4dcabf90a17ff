from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from tests._patience import PROCESS_S, WINDOW_S

from napari_cellclass.core.common.errors import EngineError, ModelError
from napari_cellclass.core.models.bundle import ModelBundle, open_bundle, write_bundle
from napari_cellclass.core.tiles.preprocess import PreprocessSpec, resize_tiles
from napari_cellclass.engine.common.environment import import_openvino
from napari_cellclass.engine.common.tile_input import predict_in_batches
from napari_cellclass.engine.inference.engines import Engine, open_engine
from napari_cellclass.engine.inference.openvino_graph import OpenVinoNetwork, TileFormat, read_network
from napari_cellclass.engine.inference.streams import fastest_network
from napari_cellclass.engine.inference.tensorflow_client import ChildProcess, child_command

pytestmark = pytest.mark.training


def rewritten(bundle: ModelBundle, path: Path, **changes: bytes) -> ModelBundle:
    """The same model with other members, and hashes that fit."""
    members = {name: bundle.member(name) for name in bundle.manifest.files}
    return write_bundle(path, bundle.manifest, members | {k.replace("_", "."): v for k, v in changes.items()})


def test_both_engines_agree_on_every_tile(openvino: Engine, tensorflow: Engine, tiles: NDArray[np.uint16]) -> None:
    a, b = openvino.predict(tiles), tensorflow.predict(tiles)
    assert a.dtype == b.dtype == np.float32
    assert a.shape == b.shape == (300, 2)
    assert np.abs(a - b).max() <= 1e-4
    np.testing.assert_allclose(a.sum(axis=1), 1, atol=1e-5)
    assert 0.05 < (a[:, 0] > 0.5).mean() < 0.95  # not all the same, or agreement would mean little


@pytest.mark.parametrize("name", ["openvino", "tensorflow"])
def test_batching_changes_no_probability(name: str, request: pytest.FixtureRequest, tiles: NDArray[np.uint16]) -> None:
    engine: Engine = request.getfixturevalue(name)
    whole = engine.predict(tiles[:70])
    parts = np.concatenate([engine.predict(part) for part in np.split(tiles[:70], [1, 3, 20, 37])])
    turned = engine.predict(tiles[:70][::-1])[::-1]
    # TensorFlow's threads share a batch out anew each time, and sum in another order at the seams.
    least = 0 if name == "openvino" else 1e-6
    np.testing.assert_allclose(parts, whole, rtol=0, atol=least)
    np.testing.assert_allclose(turned, whole, rtol=0, atol=least)


@pytest.mark.parametrize("name", ["openvino", "tensorflow"])
def test_a_tile_with_bad_pixels_is_a_row_of_nan_and_its_neighbours_stay(
    name: str, request: pytest.FixtureRequest, tiles: NDArray[np.uint16]
) -> None:
    engine: Engine = request.getfixturevalue(name)
    clean = tiles[:20].astype(np.float64)
    dirty = clean.copy()
    dirty[3, 5, 5] = np.nan
    dirty[4, 0, 0] = np.inf
    dirty[9] = 1e300
    expected = engine.predict(clean)
    expected[[3, 4, 9]] = np.nan
    np.testing.assert_array_equal(engine.predict(dirty), expected)


@pytest.mark.parametrize("name", ["openvino", "tensorflow"])
def test_no_tiles_give_no_rows(name: str, request: pytest.FixtureRequest) -> None:
    assert request.getfixturevalue(name).predict(np.zeros((0, 32, 32, 1), np.uint8)).shape == (0, 2)


@pytest.mark.parametrize("name", ["openvino", "tensorflow"])
def test_wrong_channels_are_named(name: str, request: pytest.FixtureRequest) -> None:
    engine: Engine = request.getfixturevalue(name)
    with pytest.raises(ModelError, match="trained on 1 channel, but the image has 3"):
        engine.predict(np.zeros((2, 32, 32, 3), np.uint8))
    assert engine.predict(np.zeros((2, 32, 32, 1), np.uint8)).shape == (2, 2)


def test_what_is_not_a_batch_of_tiles_is_refused(openvino: Engine, tensorflow: Engine) -> None:
    for engine in (openvino, tensorflow):
        with pytest.raises(ModelError, match="expected tiles"):
            engine.predict(np.zeros((32, 32, 1), np.uint8))
        with pytest.raises(ModelError, match="expected tiles"):
            engine.predict(np.zeros((1, 32, 32, 1), object))


def test_tiles_of_another_size_are_resized(openvino: Engine, tiles: NDArray[np.uint16]) -> None:
    large = tiles[:36].reshape(9, 2, 2, 32, 32, 1).swapaxes(2, 3).reshape(9, 64, 64, 1)
    small = resize_tiles(large.astype(np.float32), (32, 32))
    np.testing.assert_allclose(openvino.predict(large), openvino.predict(small), atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64", ">u2"])
@pytest.mark.parametrize("size", [(32, 32), (64, 96), (48, 40), (16, 20)])
@pytest.mark.parametrize("scaling", ["range", "range of each channel", "percentiles"])
def test_the_graph_agrees_with_the_preprocessing(dtype: str, size: tuple[int, int], scaling: str) -> None:
    rng = np.random.default_rng(3)
    offset = 0 if dtype == "uint8" else 20_000
    tiles = (offset + rng.gamma(2, 30, (9, *size, 2)).clip(0, 255)).astype(dtype)
    spec = PreprocessSpec(channels=2, input_px=(32, 32), low=offset, high=offset + 200.0)
    levels = None
    if scaling == "range of each channel":
        ranges = ((offset + 3.3, offset + 211.7), (0, offset + 150.2))
        spec = PreprocessSpec(channels=2, input_px=(32, 32), low=0, high=1, channel_ranges=ranges)
    elif scaling == "percentiles":
        spec = PreprocessSpec(
            channels=2, input_px=(32, 32), normalisation="percentiles", percentiles=(1, 99), low=0, high=1
        )
        levels = np.array([[offset + 3.3, offset + 211.7], [offset, offset + 150.2]])
    prob = OpenVinoNetwork(unchanged((32, 32, 2)), spec, TileFormat.of(tiles))(tiles, levels)
    np.testing.assert_allclose(prob, spec.apply(spec.apply_levels(tiles, levels)).reshape(9, -1), atol=2e-6)


def unchanged(shape: tuple[int, int, int]) -> Any:
    """A network that returns its input."""
    model = import_openvino()
    import openvino.opset13 as op

    tiles = op.parameter([-1, *shape], np.float32)
    return model.Model([op.reshape(tiles, np.array([0, -1]), True)], [tiles])


def test_streams_change_no_bit_of_a_probability(good: ModelBundle, tiles: NDArray[np.uint16]) -> None:
    model = read_network(good.member("model.xml"), good.member("model.bin"))
    prob = [
        OpenVinoNetwork(model, good.preprocess, TileFormat.of(tiles), threads, streams)(tiles)
        for threads, streams in ((1, 1), (2, 1), (2, 2), (4, 2))
    ]
    for other in prob[1:]:
        np.testing.assert_array_equal(other, prob[0])


def test_the_number_of_streams_is_measured_once_and_a_damaged_cache_does_no_harm(
    good: ModelBundle, tiles: NDArray[np.uint16], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("napari_cellclass.engine.inference.streams.streams_file", lambda: tmp_path / "streams.json")
    made: list[int] = []

    class Counted(OpenVinoNetwork):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            made.append(self.streams)

    monkeypatch.setattr("napari_cellclass.engine.inference.streams.OpenVinoNetwork", Counted)
    model = read_network(good.member("model.xml"), good.member("model.bin"))
    for _ in range(2):
        network = fastest_network(model, good.preprocess, TileFormat.of(tiles), 2)
    assert made == [2, 1, network.streams]
    (tmp_path / "streams.json").write_text('{"broken')
    fastest_network(model, good.preprocess, TileFormat.of(tiles), 2)
    assert made[3:] == [2, 1]
    assert json.loads((tmp_path / "streams.json").read_text())


def test_other_load_during_one_measurement_does_not_decide_the_number_of_streams(
    good: ModelBundle, tiles: NDArray[np.uint16], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("napari_cellclass.engine.inference.streams.streams_file", lambda: tmp_path / "streams.json")
    rates = {2: iter([1.0, 10.0, 100.0, 10.0]), 1: iter([1.0, 60.0, 60.0, 60.0])}
    monkeypatch.setattr(
        "napari_cellclass.engine.inference.streams._tiles_per_second",
        lambda network, spec, s: next(rates[network.streams]),
    )
    model = read_network(good.member("model.xml"), good.member("model.bin"))
    assert fastest_network(model, good.preprocess, TileFormat.of(tiles), 2).streams == 2


def test_threads_may_share_an_engine(openvino: Engine, tiles: NDArray[np.uint16]) -> None:
    prob: dict[int, NDArray[np.float32]] = {}
    workers = [
        threading.Thread(target=lambda i=i: prob.update({i: openvino.predict(tiles[i * 50 : i * 50 + 50])}))
        for i in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    np.testing.assert_array_equal(np.concatenate([prob[i] for i in range(4)]), openvino.predict(tiles[:200]))


def test_one_thread_predicts_the_same(good: ModelBundle, openvino: Engine, tiles: NDArray[np.uint16]) -> None:
    with open_engine(good, threads=1) as engine:
        assert np.abs(engine.predict(tiles) - openvino.predict(tiles)).max() <= 1e-6


def test_a_closed_engine_is_an_error(good: ModelBundle, tiles: NDArray[np.uint16]) -> None:
    engine = open_engine(good)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.predict(tiles[:1])


def test_changed_weights_are_refused(good: ModelBundle, tmp_path: Path) -> None:
    path = tmp_path / "changed.cellclass"
    with zipfile.ZipFile(good.path) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = bytearray(source.read(name))
            if name == "model.bin":
                content[-1] ^= 1
            target.writestr(name, bytes(content))
    with pytest.raises(ModelError, match=r"model\.bin has changed"):
        open_engine(open_bundle(path))


def test_other_probabilities_for_golden_tiles_are_refused(good: ModelBundle, tmp_path: Path) -> None:
    tiles, prob = good.golden
    buffer = io.BytesIO()
    np.savez(buffer, tiles=tiles, prob=prob[:, ::-1])
    changed = rewritten(good, tmp_path / "m.cellclass", golden_npz=buffer.getvalue())
    with pytest.raises(ModelError, match=r"does not predict what it predicted .*largest difference"):
        open_engine(changed)


def test_golden_tiles_that_do_not_fit_are_refused(good: ModelBundle, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, tiles=good.golden[0], prob=np.ones((8, 3), np.float32))
    with pytest.raises(ModelError, match=r"golden tiles cannot be read: .* do not fit probabilities of shape \(8, 3\)"):
        open_engine(rewritten(good, tmp_path / "m.cellclass", golden_npz=buffer.getvalue()))


def test_a_network_that_openvino_cannot_read_is_one_line(good: ModelBundle, tmp_path: Path) -> None:
    broken = rewritten(good, tmp_path / "m.cellclass", model_xml=b"<net/>")
    with pytest.raises(ModelError, match="cannot be loaded by OpenVINO") as caught:
        open_engine(broken)
    assert "\n" not in str(caught.value)


def test_a_killed_child_is_one_line_and_no_hang(good: ModelBundle, tiles: NDArray[np.uint16]) -> None:
    engine = open_engine(good, "tensorflow")
    psutil.Process(engine.pid).kill()  # type: ignore[attr-defined]
    start = time.monotonic()
    with pytest.raises(EngineError, match=r"TensorFlow process has ended \(exit code") as caught:
        engine.predict(tiles)
    assert time.monotonic() - start < WINDOW_S
    assert "\n" not in str(caught.value)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.predict(tiles)


def test_a_child_that_cannot_start_is_described(good: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "raise SystemError('no room for tensors')"]
    monkeypatch.setattr("napari_cellclass.engine.inference.tensorflow_client.child_command", lambda verb: command)
    with pytest.raises(EngineError, match="SystemError: no room for tensors"):
        open_engine(good, "tensorflow")
    monkeypatch.setattr(
        "napari_cellclass.engine.inference.tensorflow_client.child_command", lambda verb: ["/no/such/python"]
    )
    with pytest.raises(EngineError, match="cannot start"):
        open_engine(good, "tensorflow")


def test_closing_ends_the_child_whatever_it_does() -> None:
    child = ChildProcess("predict")  # waits for its job
    process = psutil.Process(child.pid)
    child.close()
    assert not process.is_running()


def test_a_child_does_not_outlive_its_parent() -> None:
    code = (
        "import time\nfrom napari_cellclass.engine.inference.tensorflow_client import ChildProcess\n"
        "print(ChildProcess('predict').pid, flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    assert not psutil.wait_procs([child], timeout=PROCESS_S)[1]


def test_libraries_that_print_do_not_disturb_the_responses() -> None:
    code = (
        "import os\nfrom napari_cellclass.engine.child.main import _reserve_stdout\n"
        "responses = _reserve_stdout()\nprint('chatter')\nos.write(1, b'deeper chatter')\n"
        "responses.write(b'response')\nresponses.flush()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"response"
    assert b"chatter" in done.stderr


def test_a_child_without_a_verb_prints_its_usage() -> None:
    done = subprocess.run(child_command("dance"), capture_output=True, check=False)
    assert done.returncode == 2
    assert b"predict|convert" in done.stderr


def test_openvino_brings_neither_tensorflow_nor_telemetry(good: ModelBundle, tmp_path: Path) -> None:
    code = (
        "import sys, json, pathlib\n"
        "contacts = []\n"
        "def watch(event, arguments):\n"
        "    if event in {'socket.connect', 'socket.getaddrinfo', 'urllib.Request', 'os.fork'}:\n"
        "        contacts.append(event)\n"
        "        if event != 'os.fork': raise OSError('out of bounds')\n"
        "sys.addaudithook(watch)\n"
        "import numpy as np\n"
        "import napari_cellclass.engine.child.main, napari_cellclass.engine.training.train\n"
        "import napari_cellclass.engine.inference.keras_import\n"
        "import napari_cellclass.engine.child.convert, napari_cellclass.engine.networks.architectures\n"
        "early = [name for name in ('tensorflow', 'keras', 'openvino') if name in sys.modules]\n"
        "from napari_cellclass.core.models.bundle import open_bundle\n"
        "from napari_cellclass.engine.inference.engines import open_engine\n"
        "with open_engine(open_bundle(pathlib.Path(sys.argv[1]))) as engine:\n"
        "    engine.predict(np.zeros((9, 32, 32, 1), np.uint8))\n"
        "late = [name for name in ('tensorflow', 'keras') if name in sys.modules]\n"
        "print(json.dumps([early, late, contacts]))"
    )
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "TF_BUILD", "JENKINS_URL"}}
    done = subprocess.run(
        [sys.executable, "-c", code, str(good.path)], env=environment | {"HOME": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == [[], [], []]
    assert not (tmp_path / "intel").exists()
    assert done.stderr == ""


def test_a_batch_is_always_of_one_size() -> None:
    seen = []

    def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append(len(x))
        return np.full((len(x), 2), 0.5, np.float32)

    spec = PreprocessSpec(channels=1, input_px=(4, 4))
    tiles = np.zeros((11, 4, 4, 1), np.float32)
    tiles[8:] = np.nan
    prob = predict_in_batches(run, spec, tiles, 2, 8)
    assert seen == [8]  # the second batch has no good tile
    assert np.isnan(prob[8:]).all()
