"""Blinded reading: a person classes test tiles without knowing anything about them but their pixels."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable
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
    SealedEnvelope,
    decode_png,
    read_blind_file,
    read_tile_png,
    write_blind_file,
)
from napari_cellclass.core.blind.sampling import insert_repeats, render_tiles, sample_tiles
from napari_cellclass.core.common.errors import MALFORMED_JSON, ParamsError
from napari_cellclass.core.common.journal import Entry, Journal, JournalFile
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.params.blind import BlindParams

_SESSION = "session"  # the journal of what concerns no single reader
Network = Callable[[NDArray[np.int64]], NDArray[np.float32]]


def default_folder() -> Path:
    """Where sessions lie: in the user's data folder."""
    return platformdirs.user_data_path("napari-cellclass", appauthor=False) / "blind"


class BlindSession:
    """Test tiles in a sealed random order, read by one or several people, then compared.

    What a reader sees of a tile is its pixels alone. Contrast follows one rule for every tile: it is stretched over
    its own percentiles 0.5 to 99.8, channel by channel, RGB images by one range for all three. So gain, exposure,
    camera offset and what else lies in the field, which often differ between classes for reasons that are no
    biology, cannot give a class away; a class that *is* brightness cannot be read this way.

    Nothing is revealed before every reader who has begun is through, see :meth:`reveal`. The file is described by
    :class:`~napari_cellclass.core.blind.container.SealedEnvelope`, with what that protects from and what not. Answers
    lie beside it, in ``NAME.readings``, a journal per reader.

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
        """SHA-256 over order, tiles and a random salt: the same at the end as at the start, or someone changed them."""
        return self._order.seal

    @property
    def total(self) -> int:
        """Tiles to read, those that come twice counted twice."""
        return self.tiles + self.repeats

    @classmethod
    def draw(
        cls,
        path: Path,
        data: TileDataset,
        params: BlindParams,
        network: Network | None = None,
        network_name: str = "",
        task: Task = NO_TASK,
    ) -> BlindSession:
        """Draw tiles, as many of each class as there are, from as many groups as there are, and seal them.

        Parameters
        ----------
        path
            The file to write.
        data
            Test tiles with their classes.
        params
            Tiles and repeats. Without a seed it is drawn from the operating system.
        network
            Gives probabilities (n, K) of tiles by their places in ``data``: the answers that the readers are
            compared with at the end, sealed before the first tile is read.
        network_name
            What to call it in the results.

        Raises
        ------
        ParamsError
            There are fewer tiles than asked for.
        ImageError, OutputError
            A tile cannot be read; the file cannot be written.
        CancelledError
            The task was cancelled.
        """
        seed = int.from_bytes(os.urandom(8)) if params.seed is None else params.seed
        rng = np.random.default_rng(seed)
        places = sample_tiles(data, params.tiles, rng)
        prob = network(places) if network else None
        pictures = render_tiles(data, places, task)
        order = insert_repeats(data.labels[places], params.repeats, rng)
        sealed = {
            "salt": secrets.token_hex(32),
            "seed": seed,
            "order": order,
            "own_order": params.own_order,
            "tiles": [
                {
                    "path": str(data.paths[data.image[p]]),
                    "box": [int(v) for v in data.boxes[p]],
                    "class": int(data.labels[p]),
                    "group": str(data.groups[p]),
                    "picture": hashlib.sha256(picture).hexdigest(),
                }
                for p, picture in zip(places, pictures, strict=True)
            ],
        }
        answers = None
        if prob is not None:
            rows = [[round(float(v), 6) for v in row] if np.isfinite(row).all() else None for row in prob]
            answers = SealedEnvelope.of({"salt": secrets.token_hex(32), "name": network_name, "prob": rows})
        header = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "classes": data.scheme.to_json(),
            "tiles": len(places),
            "repeats": params.repeats,
        }
        write_blind_file(path, header, SealedEnvelope.of(sealed), answers, pictures)
        return cls(path)

    # -- readers -----------------------------------------------------------------------------------

    def reading(self, reader: str) -> Reading:
        """Begin a person's reading, or go on with it.

        Raises
        ------
        ParamsError
            The name is empty.
        BlindError
            The session is revealed and this person has not read it; or the reading's file does not belong here.
        """
        reader = " ".join(reader.split())
        if not reader:
            raise ParamsError("the reader has no name; fill it in, the results are listed by it")
        found = Reading(self, reader)
        if not found.began and self.revealed is not None:
            raise BlindError(f"this session was revealed on {self.revealed:%d %b %Y}; a new reader needs a new session")
        return found

    def readings(self) -> list[Reading]:
        """List the readings that were begun, by name."""
        names = []
        for file in sorted(self.journal.folder.glob("*.jsonl")):
            if file.stem != _SESSION and (entries := self.journal.entries(file.stem)):
                names.append(str(entries[0].get("reader", "")))
        return sorted((Reading(self, name) for name in names if name), key=lambda reading: reading.reader)

    @property
    def revealed(self) -> datetime | None:
        """When the classes were first shown."""
        times = [entry["t"] for entry in self.journal.entries(_SESSION) if entry.get("do") == "reveal"]
        return datetime.fromtimestamp(min(times), UTC) if times else None

    def reading_order(self, reader: str) -> list[int]:
        """Give the tiles' numbers in the order that a reader sees them in."""
        sealed = self._order.content()
        if not sealed["own_order"]:
            return [int(v) for v in sealed["order"]]
        seed = int.from_bytes(hashlib.sha256((sealed["salt"] + reader.casefold()).encode()).digest()[:8])
        labels = np.array([tile["class"] for tile in sealed["tiles"]])
        rng = np.random.default_rng(seed)
        shuffled = rng.permutation(len(labels))
        return [int(shuffled[i]) for i in insert_repeats(labels[shuffled], self.repeats, rng)]

    # -- the end -----------------------------------------------------------------------------------

    def check_complete(self) -> list[Reading]:
        """Give the readings, or say what is missing.

        Raises
        ------
        BlindError
            Nobody has read it, or someone who has begun is not through.
        """
        readings = self.readings()
        if not readings:
            raise BlindError("nobody has read this session; nothing is revealed before all of its tiles are read")
        open_ones = [reading for reading in readings if not reading.complete]
        if open_ones:
            who = ", ".join(f"{r.reader} has read {len(r.answers)} of {self.total}" for r in open_ones)
            raise BlindError(f"{who}; nothing is revealed before every reader who has begun has read all tiles")
        return readings

    def reveal(self) -> tuple[dict[str, Any], dict[str, Any] | None, list[Reading]]:
        """Open the seals: what the tiles are, the network's answers or None, and the readings.

        From then on nobody can begin to read the session.

        Raises
        ------
        BlindError
            See :meth:`check_complete`; or the order, a picture or a reader's answers were changed since.
        """
        readings = self.check_complete()
        sealed = self._order.content()
        network = self._network.content() if self._network else None
        for number, tile in enumerate(sealed["tiles"]):
            if hashlib.sha256(read_tile_png(self.path, number)).hexdigest() != tile["picture"]:
                raise BlindError(f"picture {number} of {self.path} was changed since the session was drawn")
        for reading in readings:
            reading.check()
        if self.revealed is None:
            self.journal.append(_SESSION, {"do": "reveal", "t": round(time.time(), 3)})
        return sealed, network, readings


@dataclass(frozen=True)
class Response:
    """The class that a reader gave, and the time that the tile was looked at in s."""

    label: int
    seconds: float


class Reading:
    """One person's answers, each on disk before the next tile is shown.

    Parameters
    ----------
    session
        What is read.
    reader
        The person's name.

    Raises
    ------
    BlindError
        There are answers of this name that were given to another session.
    """

    def __init__(self, session: BlindSession, reader: str) -> None:
        self.session = session
        self.reader = reader
        self._id = "r" + hashlib.blake2b(reader.casefold().encode(), digest_size=10).hexdigest()
        self.answers: list[Response] = []
        self._looked: dict[int, float] = {}
        self._hash: str | None = None
        entries, self._read_position = session.journal.read(self._id)
        try:
            for entry in entries:
                self._replay(entry)
        except MALFORMED_JSON as error:
            raise BlindError(f"the answers of {reader} are damaged ({error}); restore {self.file}") from error
        self._order = session.reading_order(reader)

    @property
    def file(self) -> Path:
        """Where the answers are."""
        return self.session.journal.path(self._id)

    @property
    def began(self) -> bool:
        """Whether there is any answer, or was."""
        return self._read_position is not None

    @property
    def complete(self) -> bool:
        """Whether all tiles are read; nothing can be changed then."""
        return self._hash is not None

    @property
    def position(self) -> int:
        """The place in the order of the tile to read; the total when complete."""
        return len(self.answers)

    @property
    def order(self) -> tuple[int, ...]:
        """Numbers of the tiles in the order of the answers."""
        return tuple(self._order)

    def picture(self) -> NDArray[np.uint8]:
        """Give the tile to read, uint8 (h, w, 3)."""
        return decode_png(read_tile_png(self.session.path, self._order[self.position]))

    def answer(self, label: int, seconds: float) -> None:
        """Class the tile and go to the next; on disk when this returns.

        Raises
        ------
        OutputError
            It cannot be written; then nothing has changed.
        BlindError
            All tiles are read; or another window has gone on with this reading.
        """
        if self.complete:
            raise BlindError(f"{self.reader} has read all {self.session.total} tiles; the answers are final")
        if not 0 <= label < len(self.session.scheme):
            raise ParamsError(f"there is no class {label}; the classes count from 0")
        entries: list[Entry] = [{"do": "answer", "at": self.position, "class": int(label), "ms": round(1000 * seconds)}]
        if self.position + 1 == self.session.total:
            labels = [answer.label for answer in self.answers] + [int(label)]
            entries.append({"do": "complete", "hash": self._digest(labels)})
        self._write(entries)

    def back(self) -> bool:
        """Take the last answer back and show that tile again; False at the first tile and when complete."""
        if self.complete or not self.answers:
            return False
        self._write([{"do": "back"}])
        return True

    def check(self) -> None:
        """Raise :class:`BlindError` if the answers are not those that the reading was completed with."""
        if self._hash != self._digest([answer.label for answer in self.answers]):
            raise BlindError(f"the answers of {self.reader} in {self.file} were changed after the reading was complete")

    def _digest(self, labels: list[int]) -> str:
        return hashlib.sha256(json.dumps([self.session.seal, self.reader, labels]).encode()).hexdigest()

    def _write(self, entries: list[Entry]) -> None:
        if not self.began:
            entries = [{"do": "start", "reader": self.reader, "seal": self.session.seal}, *entries]
        with self.session.journal.open_locked(self._id) as file:
            self._check_alone(file)
            self._read_position = file.append([entry | {"t": round(time.time(), 3)} for entry in entries])
        for entry in entries:
            self._replay(entry)

    def _check_alone(self, file: JournalFile) -> None:
        if self._read_position is None:
            alone = not self.session.journal.entries(self._id)
        else:
            news = file.read_since(self._read_position)
            alone = news is not None and not news[0]
        if not alone:
            raise BlindError(f"another window has gone on with the reading of {self.reader}; press Start again")

    def _replay(self, entry: Entry) -> None:
        if entry["do"] == "start":
            if entry["seal"] != self.session.seal:
                raise BlindError(f"{self.file} holds answers to another session, sealed {entry['seal'][:16]}...")
            self.reader = str(entry["reader"])
        elif entry["do"] == "answer":
            place = len(self.answers)
            self._looked[place] = self._looked.get(place, 0.0) + entry["ms"] / 1000
            self.answers.append(Response(int(entry["class"]), self._looked[place]))
        elif entry["do"] == "back":
            self.answers.pop()
        elif entry["do"] == "complete":
            self._hash = str(entry["hash"])


def list_sessions(folder: Path) -> list[BlindSession]:
    """Open the sessions of a folder, the latest first; files that are none are left out."""
    found = []
    for path in folder.glob("*" + SUFFIX):
        try:
            found.append(BlindSession(path))
        except BlindError:
            continue  # a damaged file: told when it is opened by name
    return sorted(found, key=lambda session: session.created, reverse=True)
