"""Weights in a ``.keras`` file, looked at before Keras loads them: they may lead to other files, or claim any size."""

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


def check_weights(path: Path, called: Path | None = None) -> None:
    """Refuse weights that lead to other files by links, external or virtual storage, or that claim too much.

    Keras of some versions follows them, so that a model would read files of the machine that it is loaded on.

    Parameters
    ----------
    path
        A ``.keras`` file.
    called
        What to call it in an error, where it was taken out of another file.

    Raises
    ------
    ModelError
        The weights are refused or damaged.
    """
    called = called or path
    with _told(called), zipfile.ZipFile(path) as archive:
        info = archive.getinfo(_MEMBER)
        if info.file_size > limit("model_bytes"):
            raise _Refused(f"claim {info.file_size:,} bytes")
        _look(io.BytesIO(archive.read(info)))


def check_h5(path: Path) -> None:
    """Refuse a file of weights alone for the same reasons.

    Raises
    ------
    ModelError
        The weights are refused or damaged.
    """
    with _told(path), path.open("rb") as stream:
        _look(stream)


def _look(stream: IO[bytes]) -> None:
    import h5py

    with h5py.File(stream, "r") as file:
        _walk(h5py, file)


@contextlib.contextmanager
def _told(called: Path) -> Iterator[None]:
    """Say in one line what is wrong with the weights of a file."""
    try:
        yield
    except _Refused as error:
        raise ModelError(
            f"{called} is refused: its weights {error}, which those of a network do not; get it from somebody you trust"
        ) from error
    except (*DAMAGED_ZIP, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{called} is damaged: its weights cannot be read ({error}); get a fresh copy") from error


class _Refused(Exception):  # noqa: N818 - becomes a ModelError above
    """What the weights do that they must not."""


def _walk(h5py: Any, file: Any) -> None:
    """Visit every group and dataset once, whatever leads to it."""
    waiting, seen, size = [file], {h5py.h5o.get_info(file.id).addr}, 0
    while waiting:
        group = waiting.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise _Refused(f"hold the link {name[:60]!r} to another place")
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
                if size > (most := limit("model_bytes")):
                    raise _Refused(f"claim more than {most:,} bytes ({limit_variable('model_bytes')})")
