"""Blinded reading: a person classifies test tiles knowing nothing about them but their pixels."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from napari_cellclass.core.blind.container import (
    SUFFIX,
    BlindError,
    decode_png,
    read_blind_file,
    read_tile_png,
    write_blind_file,
)
from napari_cellclass.core.blind.sampling import insert_repeats, render_tiles, sample_tiles
from napari_cellclass.core.blind.sealing import seal_predictions, seal_tiles
from napari_cellclass.core.common.errors import MALFORMED_JSON, ParamsError
from napari_cellclass.core.common.journal import Entry, Journal, JournalFile
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.params.blind import BlindParams

_SESSION = "session"  # the journal of what concerns no single reader
Predictor = Callable[[NDArray[np.int64]], NDArray[np.float32]]


def user_session_folder() -> Path:
    """Give the folder of all sessions of this user, in the user's data folder."""
    return platformdirs.user_data_path("napari-cellclass", appauthor=False) / "blind"


class BlindSession:
    """Test tiles in a sealed random order, classified by one or several readers, then unblinded and compared.

    A reader sees nothing but the pixels of a tile. Contrast follows one rule for every tile: it is stretched between
    its own percentiles 0.5 and 99.8, per channel, for RGB images with one range for all three. So gain, exposure,
    camera offset and the rest of the field, which often differ between classes for technical reasons, cannot
    reveal a class; a class defined by brightness cannot be read this way.

    Nothing is revealed before every reader who has started has finished, see :meth:`reveal`. The file is described by
    :class:`~napari_cellclass.core.blind.container.SealedEnvelope`, with what it protects against and what not.
    The readers' responses are beside it, in ``NAME.readings``, a journal per reader.

    Parameters
    ----------
    path
        ``NAME.blind``.

    Raises
    ------
    BlindError
        The file is missing, or no blinded reading.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.header, self._order, self._network = read_blind_file(self.path)
        try:
            self.scheme = ClassScheme.from_json(self.header["classes"])
            self.tiles, self.repeats = int(self.header["tiles"]), int(self.header["repeats"])
            self.created = datetime.fromisoformat(self.header["created"])
        except MALFORMED_JSON as error:
            raise BlindError(f"{path} is damaged ({error}); restore the file") from error
        self.journal = Journal(self.path.with_suffix(".readings"))

    @property
    def seal(self) -> str:
        """SHA-256 over order, tiles and a random salt: unchanged at the end unless these were changed."""
        return self._order.seal

    @property
    def total(self) -> int:
        """Number of tiles to read, repeated ones counted twice."""
        return self.tiles + self.repeats

    @classmethod
    def create(
        cls,
        path: Path,
        data: TileDataset,
        params: BlindParams,
        network: Predictor | None = None,
        network_name: str = "",
        task: Task = NO_TASK,
        trained_on: Collection[Path] = (),
    ) -> BlindSession:
        """Sample tiles, balanced over classes and then over groups, and seal them.

        Parameters
        ----------
        path
            The file to write.
        data
            Test tiles with their classes.
        params
            Number of tiles and repeats. Without a seed one is taken from the operating system.
        network
            Predicts probabilities (n, K) of tiles by their indices into ``data``: what the readers are
            compared with at the end, sealed before the first tile is read.
        network_name
            What to call it in the results.
        trained_on
            The images of ``data`` that the network was trained on, which the results are to tell.

        Raises
        ------
        ParamsError
            There are fewer tiles than requested.
        ImageError, OutputError
            A tile cannot be read; the file cannot be written.
        CancelledError
            The task was cancelled.
        """
        seed = int.from_bytes(os.urandom(8)) if params.seed is None else params.seed
        rng = np.random.default_rng(seed)
        tile_indices = sample_tiles(data, params.tiles, rng)
        prob = network(tile_indices) if network else None
        pictures = render_tiles(data, tile_indices, task)
        order = insert_repeats(data.labels[tile_indices], params.repeats, rng)
        sealed = seal_tiles(data, tile_indices, pictures, order, seed=seed, own_order=params.own_order)
        predicted = None
        if prob is not None:
            predicted = seal_predictions(prob, network_name, data, tile_indices, trained_on)
        header = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "classes": data.scheme.to_json(),
            "tiles": len(tile_indices),
            "repeats": params.repeats,
        }
        write_blind_file(path, header, sealed, predicted, pictures)
        return cls(path)

    # -- readers -----------------------------------------------------------------------------------

    def reading(self, reader: str) -> Reading:
        """Start a person's reading, or continue it.

        Raises
        ------
        ParamsError
            The name is empty.
        BlindError
            The session is revealed and this person has not started to read it; or the reading is of another session.
        """
        reader = " ".join(reader.split())
        if not reader:
            raise ParamsError("the reader has no name; fill it in, the results are listed by it")
        reading = Reading(self, reader)
        if not reading.started and self.revealed is not None:
            raise BlindError(f"this session was revealed on {self.revealed:%d %b %Y}; a new reader needs a new session")
        return reading

    def readings(self) -> list[Reading]:
        """List the readings that were started, by name."""
        names = []
        for file in sorted(self.journal.folder.glob("*.jsonl")):
            if file.stem != _SESSION and (entries := self.journal.entries(file.stem)):
                names.append(str(entries[0].get("reader", "")))
        return sorted((Reading(self, name) for name in names if name), key=lambda reading: reading.reader)

    @property
    def revealed(self) -> datetime | None:
        """When the session was unblinded; None before."""
        times = [entry["t"] for entry in self.journal.entries(_SESSION) if entry.get("do") == "reveal"]
        return datetime.fromtimestamp(min(times), UTC) if times else None

    def reading_order(self, reader: str) -> list[int]:
        """Give the tile numbers in the order in which a reader sees them."""
        sealed = self._order.content()
        if not sealed["own_order"]:
            return [int(v) for v in sealed["order"]]
        seed = int.from_bytes(hashlib.sha256((sealed["salt"] + reader.casefold()).encode()).digest()[:8])
        labels = np.array([tile["class"] for tile in sealed["tiles"]])
        rng = np.random.default_rng(seed)
        shuffled = rng.permutation(len(labels))
        return [int(shuffled[i]) for i in insert_repeats(labels[shuffled], self.repeats, rng)]

    # -- unblinding -----------------------------------------------------------------------------------

    def check_complete(self) -> list[Reading]:
        """Give the readings of a session that everyone has finished.

        Raises
        ------
        BlindError
            Nobody has read it, or someone who has started has not finished.
        """
        readings = self.readings()
        if not readings:
            raise BlindError("nobody has read this session; nothing is revealed before all of its tiles are read")
        unfinished = [reading for reading in readings if not reading.complete]
        if unfinished:
            who = ", ".join(f"{r.reader} has read {len(r.responses)} of {self.total}" for r in unfinished)
            raise BlindError(f"{who}; nothing is revealed before every reader who has started has read all tiles")
        return readings

    def reveal(self) -> tuple[dict[str, Any], dict[str, Any] | None, list[Reading]]:
        """Unblind: give what the tiles are, the network's predictions or None, and the readings.

        From then on nobody can start to read the session.

        Raises
        ------
        BlindError
            See :meth:`check_complete`; or the order, a picture or a reader's responses were changed since.
        """
        readings = self.check_complete()
        sealed = self._order.content()
        network = self._network.content() if self._network else None
        for number, tile in enumerate(sealed["tiles"]):
            if hashlib.sha256(read_tile_png(self.path, number)).hexdigest() != tile["picture"]:
                raise BlindError(f"picture {number} of {self.path} was changed since the session was drawn")
        for reading in readings:
            reading.check_unchanged()
        if self.revealed is None:
            self.journal.append(_SESSION, {"do": "reveal", "t": round(time.time(), 3)})
        return sealed, network, readings


@dataclass(frozen=True)
class Response:
    """The class index that a reader chose, and the time for which the tile was viewed in s."""

    label: int
    seconds: float


class Reading:
    """One person's responses, each on disk before the next tile is shown.

    Parameters
    ----------
    session
        What is read.
    reader
        The person's name.

    Raises
    ------
    BlindError
        There are responses under this name to another session.
    """

    def __init__(self, session: BlindSession, reader: str) -> None:
        self.session = session
        self.reader = reader
        self._id = "r" + hashlib.blake2b(reader.casefold().encode(), digest_size=10).hexdigest()
        self.responses: list[Response] = []
        self._viewed_seconds: dict[int, float] = {}
        self._hash: str | None = None
        entries, self._read_position = session.journal.read(self._id)
        try:
            for entry in entries:
                self._replay(entry)
        except MALFORMED_JSON as error:
            raise BlindError(f"the responses of {reader} are damaged ({error}); restore {self.file}") from error
        self._order = session.reading_order(reader)

    @property
    def file(self) -> Path:
        """The journal of the responses."""
        return self.session.journal.path(self._id)

    @property
    def started(self) -> bool:
        """Whether any response was ever recorded."""
        return self._read_position is not None

    @property
    def complete(self) -> bool:
        """Whether all tiles are read; the responses are final then."""
        return self._hash is not None

    @property
    def position(self) -> int:
        """Position in the order of the tile to read; the total when complete."""
        return len(self.responses)

    @property
    def order(self) -> tuple[int, ...]:
        """Numbers of the tiles in the order of the responses."""
        return tuple(self._order)

    def tile_image(self) -> NDArray[np.uint8]:
        """Pixels of the tile to read, uint8 (h, w, 3)."""
        return decode_png(read_tile_png(self.session.path, self._order[self.position]))

    def record(self, label: int, seconds: float) -> None:
        """Record the class of the tile and go to the next; on disk when this returns.

        Raises
        ------
        OutputError
            It cannot be written; then nothing has changed.
        BlindError
            All tiles are read; or another window has continued this reading.
        """
        if self.complete:
            raise BlindError(f"{self.reader} has read all {self.session.total} tiles; the responses are final")
        if not 0 <= label < len(self.session.scheme):
            raise ParamsError(f"there is no class {label}; the classes count from 0")
        entries: list[Entry] = [{"do": "answer", "at": self.position, "class": int(label), "ms": round(1000 * seconds)}]
        if self.position + 1 == self.session.total:
            labels = [response.label for response in self.responses] + [int(label)]
            entries.append({"do": "complete", "hash": self._digest(labels)})
        self._write(entries)

    def undo(self) -> bool:
        """Undo the last response and show that tile again; False at the first tile and when complete."""
        if self.complete or not self.responses:
            return False
        self._write([{"do": "back"}])
        return True

    def check_unchanged(self) -> None:
        """Raise :class:`BlindError` if the responses are not those that the reading was completed with."""
        if self._hash != self._digest([response.label for response in self.responses]):
            raise BlindError(
                f"the responses of {self.reader} in {self.file} were changed after the reading was complete"
            )

    def _digest(self, labels: list[int]) -> str:
        return hashlib.sha256(json.dumps([self.session.seal, self.reader, labels]).encode()).hexdigest()

    def _write(self, entries: list[Entry]) -> None:
        if not self.started:
            entries = [{"do": "start", "reader": self.reader, "seal": self.session.seal}, *entries]
        with self.session.journal.open_locked(self._id) as file:
            self._check_not_continued_elsewhere(file)
            self._read_position = file.append([entry | {"t": round(time.time(), 3)} for entry in entries])
        for entry in entries:
            self._replay(entry)

    def _check_not_continued_elsewhere(self, file: JournalFile) -> None:
        if self._read_position is None:
            unchanged = not self.session.journal.entries(self._id)
        else:
            news = file.read_since(self._read_position)
            unchanged = news is not None and not news[0]
        if not unchanged:
            raise BlindError(f"another window has continued the reading of {self.reader}; press Start again")

    def _replay(self, entry: Entry) -> None:
        if entry["do"] == "start":
            if entry["seal"] != self.session.seal:
                raise BlindError(f"{self.file} contains responses to another session, sealed {entry['seal'][:16]}...")
            self.reader = str(entry["reader"])
        elif entry["do"] == "answer":
            position = len(self.responses)
            self._viewed_seconds[position] = self._viewed_seconds.get(position, 0.0) + entry["ms"] / 1000
            self.responses.append(Response(int(entry["class"]), self._viewed_seconds[position]))
        elif entry["do"] == "back":
            self.responses.pop()
        elif entry["do"] == "complete":
            self._hash = str(entry["hash"])


def list_sessions(folder: Path) -> list[BlindSession]:
    """Open the sessions of a folder, the latest first; files that cannot be read are left out."""
    sessions = []
    for path in folder.glob("*" + SUFFIX):
        try:
            sessions.append(BlindSession(path))
        except BlindError:
            continue  # a damaged file is reported when it is opened by name
    return sorted(sessions, key=lambda session: session.created, reverse=True)
