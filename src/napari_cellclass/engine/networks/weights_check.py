"""Checks of weights before Keras loads them: they may link to other files, or claim any size."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.common.limits import limit, limit_variable
from napari_cellclass.core.models.bundle import DAMAGED_ZIP

_MEMBER = "model.weights.h5"


def check_weights(path: Path, shown_path: Path | None = None) -> None:
    """Refuse weights in a ``.keras`` file that link to other files, use external or virtual storage, or claim too much.

    Some versions of Keras follow such links, so that a model could read files of the machine that loads it.

    Parameters
    ----------
    path
        A ``.keras`` file.
    shown_path
        Path to quote in errors, where the file was extracted from another one.

    Raises
    ------
    ModelError
        The weights are refused or damaged.
    """
    with _errors_of(shown_path or path), zipfile.ZipFile(path) as archive:
        info = archive.getinfo(_MEMBER)
        if info.file_size > limit("model_bytes"):
            raise _Refused(f"claim {info.file_size:,} bytes")
        _check_file(io.BytesIO(archive.read(info)))


def check_h5(path: Path) -> None:
    """Refuse an HDF5 file of weights for the same reasons.

    Raises
    ------
    ModelError
        The weights are refused or damaged.
    """
    with _errors_of(path), path.open("rb") as stream:
        _check_file(stream)


def _check_file(stream: IO[bytes]) -> None:
    import h5py

    with h5py.File(stream, "r") as file:
        _check_items(h5py, file)


@contextlib.contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Raise errors about the weights of a file as :class:`ModelError`."""
    try:
        yield
    except _Refused as error:
        raise ModelError(
            f"{path} is refused: its weights {error}, which those of a network do not; get it from a trusted source"
        ) from error
    except (*DAMAGED_ZIP, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is damaged: its weights cannot be read ({error}); get a fresh copy") from error


class _Refused(Exception):  # noqa: N818 - becomes a ModelError above
    """Reason why weights are refused, as the predicate of a sentence about them."""


def _check_items(h5py: Any, file: Any) -> None:
    """Check every group and dataset once, whatever links lead to it."""
    waiting, seen, size = [file], {h5py.h5o.get_info(file.id).addr}, 0
    while waiting:
        group = waiting.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise _Refused(f"hold the link {name[:60]!r} to another file")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise _Refused(f"keep {name[:60]!r} in another file")
                size += item.nbytes
                if size > (largest := limit("model_bytes")):
                    raise _Refused(f"claim more than {largest:,} bytes ({limit_variable('model_bytes')})")
