from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import accuracy_score, cohen_kappa_score
from statsmodels.stats.contingency_tables import mcnemar

from napari_cellclass.core.blind.container import BlindError
from napari_cellclass.core.blind.results import reveal
from napari_cellclass.core.blind.sampling import insert_repeats
from napari_cellclass.core.blind.session import BlindSession, Reading, list_sessions
from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.datasets.dataset import TileDataset, read_folders
from napari_cellclass.core.params.blind import BlindParams

CLASSES = ("diffuse", "puncta")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TileDataset:
    """40 tiles of a bright and 60 of a dark class, from ten wells each; only the corner's shape tells them apart."""
    folder = tmp_path_factory.mktemp("plate")
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for i in range(40 + 20 * label):
            pixels = rng.integers(0, 50, (16, 16))
            pixels[:4, : (4, 12)[label]] = 60
            image = Image.fromarray((pixels * (4, 1)[label]).astype(np.uint8))
            image.save(folder / name / f"{name[0]}{i % 10}_{i}.png")
    return read_folders(folder, group_by=r"^(..)")


def truth_of(picture: np.ndarray) -> int:
    return int(picture[0, 8, 0] > 250 and picture[3, 11, 0] > 250)


def read(reading: Reading, stop: int | None = None, wrong: tuple[int, ...] = ()) -> list[int]:
    """Answer as the picture tells, but wrong at some places."""
    said = []
    while not reading.complete and reading.position != stop:
        said.append(truth_of(reading.tile_image()) ^ (reading.position in wrong))
        reading.record(said[-1], 0.5 + reading.position % 3)
    return said


def network(data: TileDataset, wrong: int) -> object:
    def predict(places: np.ndarray) -> np.ndarray:
        said = np.where(np.arange(len(places)) < wrong, 1 - data.labels[places], data.labels[places])
        return np.eye(2, dtype=np.float32)[said] * 0.9 + 0.05

    return predict


def drawn(tmp_path: Path, data: TileDataset, wrong: int | None = None, **params: object) -> BlindSession:
    given = BlindParams(**{"tiles": 40, "repeats": 8} | params)
    answers = None if wrong is None else network(data, wrong)
    return BlindSession.create(tmp_path / "one.blind", data, given, answers, "net")


def test_the_file_shows_no_class_of_a_tile_and_no_file_name(tmp_path: Path, data: TileDataset) -> None:
    session = drawn(tmp_path, data, wrong=3)
    reading = session.reading("Anna")
    read(reading, stop=20)
    content = session.path.read_bytes() + reading.file.read_bytes()
    with zipfile.ZipFile(session.path) as archive:
        content += b"".join(archive.read(name) for name in archive.namelist())
        header = json.loads(archive.read("session.json"))
    for path in data.paths:
        assert path.name.encode() not in content
    assert str(data.paths[0].parent.parent).encode() not in content
    assert header["seal"] == session.seal
    assert not {"order", "labels", "seed"} & set(header)


def test_classes_and_groups_are_drawn_evenly(tmp_path: Path, data: TileDataset) -> None:
    session = drawn(tmp_path, data)
    read(session.reading("Anna"))
    tiles = reveal(session).tiles
    assert tiles["true_class"].value_counts().to_dict() == {"diffuse": 20, "puncta": 20}
    assert (tiles["group"].value_counts() == 2).all()
    assert not tiles["path"].duplicated().any()


def test_contrast_follows_one_rule_so_that_exposure_tells_nothing(tmp_path: Path, data: TileDataset) -> None:
    reading = drawn(tmp_path, data).reading("Anna")
    looks = []
    while not reading.complete:
        picture = reading.tile_image()
        looks.append((truth_of(picture), picture.min(), picture.max(), round(float(picture.mean()) / 32)))
        reading.record(0, 1.0)
    for look in range(1, 3):
        assert {row[look] for row in looks if row[0] == 0} == {row[look] for row in looks if row[0] == 1}
    assert abs(np.mean([r[3] for r in looks if r[0]]) - np.mean([r[3] for r in looks if not r[0]])) < 1.2


@given(st.integers(2, 80), st.integers(0, 10_000), st.data())
def test_repeats_are_hidden_with_room_between(n: int, seed: int, case: st.DataObject) -> None:
    repeats = case.draw(st.integers(0, n // 2))
    rng = np.random.default_rng(seed)
    order = insert_repeats(rng.integers(0, 3, n), repeats, rng)
    assert sorted(set(order)) == list(range(n))
    assert len(order) == n + repeats
    for tile in set(order):
        places = [i for i, other in enumerate(order) if other == tile]
        assert len(places) <= 2
        if len(places) == 2:
            assert places[1] - places[0] > min(15, n // 4)


def test_a_killed_reading_goes_on_where_it_was(tmp_path: Path, data: TileDataset) -> None:
    session = drawn(tmp_path, data)
    said = read(session.reading("Anna"), stop=17)
    with session.reading("Anna").file.open("ab") as stream:
        stream.write(b'{"do":"answer","at":17,"cla')  # a key that was in flight
    again = BlindSession(session.path).reading(" anna ")
    assert (again.position, again.reader) == (17, "Anna")
    assert [answer.label for answer in again.responses] == said
    read(again)
    assert again.complete
    assert [found.path for found in list_sessions(tmp_path)] == [session.path]


def test_one_tile_can_be_taken_back_until_the_end(tmp_path: Path, data: TileDataset) -> None:
    session = drawn(tmp_path, data)
    reading = session.reading("Anna")
    assert not reading.undo()
    shown = reading.tile_image()
    reading.record(0, 2.0)
    assert reading.undo()
    np.testing.assert_array_equal(reading.tile_image(), shown)
    reading.record(1, 3.0)
    assert reading.responses[0].label == 1
    assert reading.responses[0].seconds == pytest.approx(5.0)
    read(reading)
    assert not reading.undo()
    with pytest.raises(BlindError, match="final"):
        reading.record(0, 1.0)


def test_nothing_is_revealed_before_every_reader_is_through(tmp_path: Path, data: TileDataset) -> None:
    session = drawn(tmp_path, data)
    with pytest.raises(BlindError, match="nobody has read"):
        reveal(session)
    read(session.reading("Anna"))
    read(session.reading("Ben"), stop=5)
    with pytest.raises(BlindError, match="Ben has read 5 of 48"):
        reveal(session)
    assert session.revealed is None
    read(session.reading("Ben"))
    reveal(session)
    with pytest.raises(BlindError, match="revealed"):
        session.reading("Carl")
    assert session.reading("Ben").complete


def test_the_figures_are_those_of_the_answers(tmp_path: Path, data: TileDataset) -> None:
    session = drawn(tmp_path, data, wrong=6, own_order=True)
    read(session.reading("Anna"), wrong=(0, 5, 30, 47))
    read(session.reading("Ben"), wrong=tuple(range(10)))
    assert session.reading("Anna").order != session.reading("Ben").order
    result = reveal(BlindSession(session.path))
    truth = (result.tiles["true_class"] == "puncta").to_numpy()
    first = {}
    for one in result.readers:
        rows = result.responses[result.responses["reader"] == one.reader]
        mine = rows[rows["reading"] == 1].set_index("tile")["class_name"].sort_index()
        first[one.reader] = (mine == "puncta").to_numpy()
        assert one.accuracy.value == pytest.approx(accuracy_score(truth, first[one.reader]))
        assert one.accuracy.lo < one.accuracy.value < one.accuracy.hi
        assert one.median_seconds == pytest.approx(1.5)
        again = rows[rows["reading"] == 2].set_index("tile")["class_name"].sort_index()
        assert one.within.n == 8
        assert one.within.kappa.value == pytest.approx(cohen_kappa_score(mine[again.index], again))
        right, machine = first[one.reader] == truth, (result.tiles["network"] == "puncta").to_numpy() == truth
        table = [
            [(right & machine).sum(), (right & ~machine).sum()],
            [(~right & machine).sum(), (~right & ~machine).sum()],
        ]
        assert one.against_network.p == pytest.approx(mcnemar(table, exact=True).pvalue)
        assert one.against_network.difference.value == pytest.approx(right.mean() - machine.mean())
        assert len(result.disagreements(one.reader)) == table[0][1] + table[1][0]
    assert result.network["accuracy"]["value"] == pytest.approx(34 / 40)
    ((a, b, found),) = result.between
    assert found.kappa.value == pytest.approx(cohen_kappa_score(first[a], first[b]))
    written = result.write(tmp_path / "out.json")
    content = json.loads(written[0].read_text())
    assert content["readers"][0]["accuracy"]["value"] == result.readers[0].accuracy.value
    assert [path.name for path in written] == ["out.json", "out.tiles.csv", "out.answers.csv"]


def rewritten(path: Path, member: str, change: object) -> None:
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content[member] = change(content[member])
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            archive.writestr(name, value)


@pytest.mark.parametrize("what", ["order", "exchanged", "picture", "answers"])
def test_a_change_after_the_start_is_noticed(tmp_path: Path, data: TileDataset, what: str) -> None:
    session = drawn(tmp_path, data)
    reading = session.reading("Anna")
    read(reading)
    if what == "order":
        rewritten(session.path, "sealed.bin", lambda blob: blob[:-9] + bytes([blob[-9] ^ 1]) + blob[-8:])
    elif what == "picture":
        with zipfile.ZipFile(session.path) as archive:
            other = archive.read("tiles/0001.png")
        rewritten(session.path, "tiles/0000.png", lambda _: other)
    elif what == "exchanged":
        BlindSession.create(session.path, data, BlindParams(tiles=40, repeats=8))
    else:
        lines = reading.file.read_text().splitlines()
        wrong = next(i for i, line in enumerate(lines) if '"class":0' in line)
        lines[wrong] = lines[wrong].replace('"class":0', '"class":1')
        reading.file.write_text("\n".join(lines) + "\n")
    with pytest.raises(BlindError, match=r"changed|another session"):
        reveal(BlindSession(session.path))


def test_two_windows_cannot_answer_at_once(tmp_path: Path, data: TileDataset) -> None:
    session = drawn(tmp_path, data)
    one, other = session.reading("Anna"), session.reading("Anna")
    one.record(0, 1.0)
    with pytest.raises(BlindError, match="another window"):
        other.record(1, 1.0)
    assert [answer.label for answer in session.reading("Anna").responses] == [0]


def test_too_much_is_refused_in_one_line(tmp_path: Path, data: TileDataset) -> None:
    with pytest.raises(ParamsError, match="at most 100"):
        drawn(tmp_path, data, tiles=101)
    with pytest.raises(ParamsError, match="at most half"):
        BlindParams.checked(tiles=10, repeats=6)
    (tmp_path / "no.blind").write_text("nothing")
    with pytest.raises(BlindError, match="not a file of a blinded reading"):
        BlindSession(tmp_path / "no.blind")
    assert list_sessions(tmp_path) == []


def test_the_result_keeps_how_many_images_the_network_was_trained_on(tmp_path: Path, data: TileDataset) -> None:
    given = BlindParams(tiles=40, repeats=8)
    seen = data.paths[::2]
    session = BlindSession.create(tmp_path / "seen.blind", data, given, network(data, 3), "net", trained_on=seen)
    read(session.reading("Anna"), wrong=(0, 1))
    result = reveal(BlindSession(session.path))  # what was known when it was drawn is in the file
    used = set(result.tiles["path"])
    expected = len(used & {str(path) for path in seen})
    assert 0 < expected < len(used)
    assert result.network is not None
    assert (result.network["images"], result.network["images_trained_on"]) == (len(used), expected)
    assert f"; but {expected} of the {len(used)} images were trained on" in result.headline()
    assert result.headline().startswith("Balanced accuracy: Anna 0.9")

    differing = result.disagreements()
    assert set(differing["tile"]) == set(result.disagreements("Anna")["tile"])
    assert (differing["reader Anna"] != differing["network"]).all()
    pictures = result.pictures(differing["tile"].tolist())
    names = result.classes
    assert [names[truth_of(one)] for one in pictures] == differing["true_class"].tolist()


def test_without_a_network_there_is_nothing_to_disagree_with(tmp_path: Path, data: TileDataset) -> None:
    session = drawn(tmp_path, data)
    read(session.reading("Anna"))
    result = reveal(session)
    assert len(result.disagreements()) == 0
    assert "trained on" not in result.headline()
