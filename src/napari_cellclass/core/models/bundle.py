"""One file per model: ``name.cellclass``, a zip that is checked before anything in it is used."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_cellclass.core.common.errors import ModelError, ParamsError
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.common.limits import LimitName, limit, limit_variable
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.models.int8_report import Int8Report
from napari_cellclass.core.models.npz import read_npz
from napari_cellclass.core.models.stored_head import MEMBER as HEAD_MEMBER
from napari_cellclass.core.models.stored_head import StoredHead
from napari_cellclass.core.models.training_tiles import TrainingTiles
from napari_cellclass.core.stats.calibration import Calibration
from napari_cellclass.core.tiles.grid import EdgeRule
from napari_cellclass.core.tiles.preprocess import PreprocessSpec

SUFFIX = ".cellclass"
MANIFEST = "manifest.json"
TRAINING_TILES_MEMBER = "training_tiles.npz"
INT8_MEMBERS = ("model.int8.xml", "model.int8.bin")
_MEMBERS = {
    MANIFEST, "model.keras", "model.xml", "model.bin", "history.csv", "split.csv", "evaluation.json", "golden.npz",
    TRAINING_TILES_MEMBER, HEAD_MEMBER, *INT8_MEMBERS,
}  # fmt: skip
KERAS_MEMBER = "model.keras"
_REQUIRED = {MANIFEST, "model.xml", "model.bin", "golden.npz"}
DAMAGED_ZIP = (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, zlib.error, struct.error)
"""Errors that reading a damaged zip file raises; a password-protected one raises RuntimeError."""


class Manifest(BaseModel):
    """Everything that is known of a model, but for its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    program: str
    created: str
    classes: list[dict[str, str]]
    preprocess: PreprocessSpec
    tile_px: tuple[int, int]
    overlap: float = 0.0
    edge: EdgeRule = "drop"
    pixel_size_um: tuple[float, float] | None = None
    network: str
    parameters: int
    layers: list[dict[str, Any]] = Field(default_factory=list)
    training: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)
    scores: dict[str, Any] = Field(default_factory=dict)
    calibration: Calibration | None = None
    export: dict[str, float] = Field(default_factory=dict)
    quantised: Int8Report | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ModelBundle:
    """A model opened from disk, or about to be written.

    Parameters
    ----------
    path
        The ``.cellclass`` file.
    manifest
        Its record: classes, preprocessing, training and scores.
    """

    path: Path
    manifest: Manifest

    @cached_property
    def scheme(self) -> ClassScheme:
        """The classes in the order of the network's outputs."""
        return ClassScheme.from_json(self.manifest.classes)

    @property
    def preprocess(self) -> PreprocessSpec:
        """Preprocessing from raw tiles to network input."""
        return self.manifest.preprocess

    def calibrated(self, prob: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return calibrated probabilities (N, K) for the network's softmax outputs; unchanged without a calibration."""
        calibration = self.manifest.calibration
        return prob if calibration is None else calibration.apply(prob)

    def uncalibrated(self, prob: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the network's softmax outputs (N, K) for calibrated probabilities: what an ensemble averages."""
        calibration = self.manifest.calibration
        return prob if calibration is None else calibration.undo(prob)

    @property
    def has_keras(self) -> bool:
        """Whether Keras can run the model, too: not if it is built on a user's backbone, which only OpenVINO runs."""
        return bool({KERAS_MEMBER, HEAD_MEMBER} & set(self.manifest.files))

    @property
    def has_int8(self) -> bool:
        """Whether the model holds an int8-quantised network beside the float32 one."""
        return set(INT8_MEMBERS) <= set(self.manifest.files)

    @cached_property
    def model_id(self) -> str:
        """Hash of the network and of everything that determines its predictions."""
        digest = hashlib.blake2b(digest_size=16)
        decisive = self.manifest.model_dump_json(
            include={"classes", "preprocess", "tile_px", "files", "calibration"},
            exclude={"calibration": {"reliability_before", "reliability_after"}},
        )
        digest.update(decisive.encode())
        return digest.hexdigest()

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the whole file, to compare with the one its author published.

        Raises
        ------
        ModelError
            The file is gone.
        """
        try:
            with self.path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise ModelError(f"cannot open {self.path}: {error.strerror or error}; choose the model again") from error

    @property
    def golden(self) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Raw tiles (n, h, w, C) and the probabilities (n, K) that Keras predicted for them at training."""
        tiles, probabilities = self._golden
        return tiles, probabilities["prob"]

    @property
    def golden_int8(self) -> NDArray[np.float32]:
        """Probabilities (n, K) that the int8 network predicted for the same tiles when it was made."""
        return self._golden[1]["prob_int8"]

    @cached_property
    def _golden(self) -> tuple[NDArray[Any], dict[str, NDArray[np.float32]]]:
        try:
            arrays = read_npz(self.member("golden.npz"), limit("model_text_bytes"))
            found = {name: arrays[name] for name in ("tiles", "prob", *(["prob_int8"] if self.has_int8 else []))}
            tiles = found.pop("tiles")
            for prob in found.values():
                if tiles.ndim != 4 or prob.shape != (len(tiles), len(self.scheme)):
                    raise ValueError(f"tiles of shape {tiles.shape} do not fit probabilities of shape {prob.shape}")
        except (*DAMAGED_ZIP, ValueError, KeyError) as error:
            raise self._damaged(f"its golden tiles cannot be read: {error}") from error
        return tiles, found

    @property
    def carries_training_tiles(self) -> bool:
        """Whether the model holds features of its training tiles."""
        return TRAINING_TILES_MEMBER in self.manifest.files

    @cached_property
    def training_tiles(self) -> TrainingTiles | None:
        """Features of training tiles, for novelty and similar tiles; None where the model carries none.

        Raises
        ------
        ModelError
            They are damaged.
        """
        if not self.carries_training_tiles:
            return None
        try:
            content = self.member(TRAINING_TILES_MEMBER)
            return TrainingTiles.from_bytes(content, limit("model_text_bytes"), len(self.scheme))
        except (*DAMAGED_ZIP, ValueError, KeyError) as error:
            raise self._damaged(f"its training tiles cannot be read: {error}") from error

    @cached_property
    def stored_head(self) -> StoredHead | None:
        """The linear models that a Keras network is made of where it is asked for; None where the file holds one.

        Raises
        ------
        ModelError
            They are damaged.
        """
        if HEAD_MEMBER not in self.manifest.files:
            return None
        try:
            columns = [int(n) for n in self.manifest.training["features"]["columns"]]
            content = self.member(HEAD_MEMBER)
            return StoredHead.from_bytes(content, limit("model_text_bytes"), columns, len(self.scheme))
        except (*DAMAGED_ZIP, ValueError, KeyError, TypeError) as error:
            raise self._damaged(f"its linear models cannot be read: {error}") from error

    def member(self, name: str) -> bytes:
        """Read one member and check it against the hash in the manifest.

        Raises
        ------
        ModelError
            It is missing, too large, or its bytes have changed.
        """
        with _opened(self.path) as archive:
            content = _read_within_limit(archive, name, self.path)
        if hashlib.sha256(content).hexdigest() != self.manifest.files.get(name):
            raise self._damaged(f"its member {name} has changed since it was written")
        return content

    def table(self, name: str) -> pd.DataFrame:
        """Read ``history.csv`` or ``split.csv``; empty where the model has none."""
        if name not in self.manifest.files:
            return pd.DataFrame()
        try:
            return pd.read_csv(io.BytesIO(self.member(name)))
        except ValueError as error:  # base class of the errors of pandas and of decoding
            raise self._damaged(f"its {name} is not a table: {error}") from error

    def left_out(self) -> NDArray[np.float32] | None:
        """Read the probabilities that a fit without them gave the training tiles.

        Returns
        -------
        ndarray or None
            float32, shape (N, K), before calibration, a row per row of ``split.csv``, NaN where a tile was not
            predicted; None where training held tiles out for good, so that the network itself can predict them.

        Raises
        ------
        ModelError
            The file is damaged.
        """
        table = self.table("split.csv")
        columns = [f"p_{name}" for name in self.scheme.names]
        if not set(columns) <= set(table.columns):
            return None
        try:
            return table[columns].to_numpy(np.float32)
        except ValueError as error:
            raise self._damaged(f"its split.csv holds a probability that is no number: {error}") from error

    def evaluation(self) -> dict[str, Any]:
        """Read the evaluation on the validation tiles; empty where there is none."""
        if "evaluation.json" not in self.manifest.files:
            return {}
        try:
            result = json.loads(self.member("evaluation.json"))
        except (ValueError, RecursionError) as error:
            raise self._damaged(f"its evaluation.json is not JSON: {error}") from error
        if not isinstance(result, dict):
            raise self._damaged("its evaluation.json holds no results")
        return result

    def _damaged(self, why: str) -> ModelError:
        return ModelError(f"{self.path} is damaged: {why}; get a fresh copy or train again")


def open_bundle(path: Path) -> ModelBundle:
    """Open a ``.cellclass`` file and check its manifest; the network itself is not loaded yet.

    Raises
    ------
    ModelError
        No such file, not a bundle, unknown or unsafe members, too large, or an invalid manifest.
    """
    path = Path(path)
    with _opened(path) as archive:
        names = archive.namelist()
        unknown = sorted(set(names) - _MEMBERS)
        if unknown or len(names) != len(set(names)):
            raise ModelError(
                f"{path} is refused: it holds {unknown[0] if unknown else 'a member twice'!r}, which a model does not"
            )
        int8 = set(INT8_MEMBERS) if set(INT8_MEMBERS) & set(names) else set()
        missing = sorted((_REQUIRED | int8) - set(names))
        if missing:
            raise ModelError(f"{path} is not a complete model: {missing[0]} is missing; train again")
        raw = _read_within_limit(archive, MANIFEST, path)
        without_keras = not {KERAS_MEMBER, HEAD_MEMBER} & set(names)
    try:
        manifest = Manifest.model_validate_json(raw)
        bundle = ModelBundle(path, manifest)
        _ = bundle.scheme
    except (ValidationError, ParamsError, KeyError) as error:
        problem = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else None
        text = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" if problem else str(error)
        raise ModelError(f"{path} has a manifest that this version does not understand ({text})") from error
    if without_keras and not _is_on_users_backbone(manifest):
        raise ModelError(f"{path} is not a complete model: {KERAS_MEMBER} is missing; train again")
    return bundle


def _is_on_users_backbone(manifest: Manifest) -> bool:
    features = manifest.training.get("features")
    return isinstance(features, dict) and features.get("backbone_scaling") is not None


def _opened(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise ModelError(f"there is no model {path}; give a {SUFFIX} file")
    try:
        return zipfile.ZipFile(path)
    except (*DAMAGED_ZIP, ValueError) as error:
        raise ModelError(f"{path} is not a {SUFFIX} model ({error}); train one, or get a fresh copy") from error


def _read_within_limit(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    """Read a member whose claimed size is allowed: a zip bomb is refused before it is unpacked."""
    try:
        info = archive.getinfo(name)
        kind: LimitName = "model_text_bytes" if name.endswith((".json", ".csv", ".npz")) else "model_bytes"
        if info.file_size > (largest := limit(kind)):
            raise ModelError(
                f"{path} is refused: {name} claims {info.file_size:,} bytes, more than {largest:,}; get it from a "
                f"trusted source, or raise {limit_variable(kind)}"
            )
        with archive.open(info) as stream:
            return stream.read(largest)
    except KeyError as error:
        raise ModelError(f"{path} is not a complete model: {name} is missing; train again") from error
    except DAMAGED_ZIP as error:
        raise ModelError(f"{path} is damaged: {name} cannot be read ({error}); get a fresh copy") from error


def write_bundle(path: Path, manifest: Manifest, members: Mapping[str, bytes]) -> ModelBundle:
    """Write a bundle atomically.

    Parameters
    ----------
    path
        The ``.cellclass`` file.
    manifest
        Its ``files`` are filled in with the SHA-256 of every member.
    members
        Content by member name, without the manifest.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    unknown = set(members) - _MEMBERS
    if unknown:
        raise ValueError(f"not members of a bundle: {sorted(unknown)}")
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(members.items())}
    manifest = manifest.model_copy(update={"files": hashes})
    with (
        atomic_write(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        archive.writestr(MANIFEST, manifest.model_dump_json(indent=2))
        for name, content in sorted(members.items()):
            archive.writestr(name, content)
    return ModelBundle(path, manifest)
