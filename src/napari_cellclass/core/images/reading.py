"""Opening an image, whatever its format, as a lazy :class:`~napari_cellclass.core.images.source.SourceImage`."""

from __future__ import annotations

import stat
from pathlib import Path

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.common.other_programs import other_program_hint
from napari_cellclass.core.images.planes import describe_error
from napari_cellclass.core.images.scenes import Scene
from napari_cellclass.core.images.source import SourceImage

__all__ = ["is_image", "is_image_name", "is_system_file_name", "is_zarr", "list_images", "list_scenes", "read_image"]

_TIFF = {".tif", ".tiff", ".btf", ".tf2", ".tf8", ".lsm", ".stk", ".svs", ".ndpi", ".scn", ".qptiff"}
_CODECS = {
    ".png": "png", ".apng": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".jpe": "jpeg", ".jfif": "jpeg",
    ".bmp": "bmp", ".dib": "bmp", ".gif": "gif", ".jp2": "jp2", ".j2k": "jp2", ".jpx": "jp2", ".webp": "webp",
}  # fmt: skip
# Microscopes' own formats: images, but an installed napari plugin has to read them.
_PLUGIN = {".czi", ".nd2", ".lif", ".oib", ".oif", ".vsi", ".dv", ".ims", ".mrxs", ".vms", ".sld", ".zvi"}
_NOT_IMAGES = {"thumbs.db", "desktop.ini", "__macosx"}

_SIGNATURES = (
    (b"II*\0", "tiff"), (b"MM\0*", "tiff"), (b"II+\0", "tiff"), (b"MM\0+", "tiff"),
    (b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"\x93NUMPY", "npy"),
    (b"\0\0\0\x0cjP  ", "jp2"), (b"\xff\x4f\xff\x51", "jp2"), (b"BM", "bmp"),
)  # fmt: skip
_ZARR_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
_PACKED_ZARR = (".zarr.zip", ".ozx")
_ZIP = b"PK\x03\x04"


def is_system_file_name(name: str) -> bool:
    """Return whether a name is of a system file: ``.DS_Store``, ``._x.png``, ``Thumbs.db``, ``__MACOSX``."""
    return name.startswith((".", "~$")) or name.lower() in _NOT_IMAGES


def is_image_name(name: str) -> bool:
    """Return whether a file or ``.zarr`` folder of that name is an image, by its suffix.

    Hidden entries and system files (``.DS_Store``, ``._x.tif``) are not; a packed Zarr is, to be reported.
    """
    if is_system_file_name(name):
        return False
    suffix = Path(name).suffix.lower()
    known = suffix in _TIFF or suffix in _CODECS or suffix in _PLUGIN or suffix in (".npy", ".zarr")
    return known or name.lower().endswith(_PACKED_ZARR)


def is_zarr(path: Path) -> bool:
    """Return whether a folder holds Zarr: by its metadata, or by its name where no image lies in it."""
    try:
        if not path.is_dir():
            return False
        if any((path / name).is_file() for name in _ZARR_FILES):
            return True
        named = path.suffix.lower() == ".zarr"
        return named and not any(is_image_name(one.name) and one.is_file() for one in path.iterdir())
    except (OSError, ValueError):
        return False


def is_image(path: Path) -> bool:
    """Return whether a path is an image: a file by its name, a folder by what it holds."""
    if is_system_file_name(path.name):
        return False
    return is_zarr(path) if path.is_dir() else is_image_name(path.name) and path.suffix.lower() != ".zarr"


def list_images(folder: Path) -> list[Path]:
    """List the images of a folder, folders of Zarr among them, sorted by name; other sub-folders are not entered.

    Raises
    ------
    ImageError
        The folder is missing, no folder, or may not be read.
    """
    folder = Path(folder)
    try:
        entries = sorted(folder.iterdir(), key=lambda p: p.name)
        return [p for p in entries if is_image(p)]
    except OSError as error:
        raise ImageError(f"cannot list {folder}: {error.strerror or error}; check the path") from error


def read_image(path: str | Path, *, t: int = 0, z: int = 0, scene: int | None = None) -> SourceImage:
    """Open one plane of an image; its pixels are only read when they are requested.

    PNG, JPEG, BMP, GIF, JPEG 2000, WebP, TIFF of all kinds, ``.npy``, Zarr and OME-Zarr are read here,
    anything else by an installed napari reader plugin. Formats are recognised by the file's first bytes; its
    suffix only decides where these are not conclusive. No file stays open.

    Parameters
    ----------
    path
        A file, or a Zarr folder.
    t, z
        Which time point and slice; the index that was taken of every such axis is in ``plane``.
    scene
        Which of the images in the file, counted from 0; the first field where it is None, see
        :func:`~napari_cellclass.core.images.reading.list_scenes`. The others are then named in ``notes``.

    Returns
    -------
    SourceImage
        With data of shape (Y, X, C).

    Raises
    ------
    ImageError
        There is no such file or plane, nothing reads its format, or it is damaged. Pixels that turn
        out to be damaged raise it when they are read.
    """
    path = Path(path)
    try:
        return _open(path, t, z, scene)
    except ImageError:
        raise
    except OSError as error:
        if error.strerror:
            raise ImageError(f"cannot read {path}: {error.strerror}; check the path and its permissions") from error
        raise ImageError(_damaged(path, error)) from error
    except Exception as error:  # damaged files make libraries raise anything
        raise ImageError(_damaged(path, error)) from error


def list_scenes(path: Path) -> tuple[Scene, ...]:
    """List the images of a file of TIFF or Zarr; a file of another format, or one that cannot be read, counts as one.

    Only files and folders are opened: a pipe would be waited for.

    Raises
    ------
    OSError
        There is no such file.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return (Scene(0),)
    try:
        if is_zarr(path):
            from napari_cellclass.core.images.zarr_images import zarr_scenes

            return tuple(zarr_scenes(path))
        if image_kind(path) == "tiff":
            from napari_cellclass.core.images.tiff import tiff_scenes

            return tuple(tiff_scenes(path))
    except OSError:
        raise
    except Exception:  # noqa: BLE001 - a damaged file is reported when it is read
        return (Scene(0),)
    return (Scene(0),)


def _damaged(path: Path, error: Exception) -> str:
    return (
        f"cannot read {path.name}: {describe_error(error)}; the file may be damaged or incomplete, copy or export "
        "it again"
    )


def _open(path: Path, t: int, z: int, scene: int | None) -> SourceImage:
    if not path.exists():
        raise ImageError(f"cannot read {path}: there is no such file; check the path")
    suffix = path.suffix.lower()
    if hint := other_program_hint(path):
        raise ImageError(f"cannot read {path.name}: {hint}")
    if path.is_dir():
        if is_zarr(path):
            from napari_cellclass.core.images.zarr_images import read_zarr

            return read_zarr(path, t=t, z=z, scene=scene)
        raise ImageError(f"cannot read {path}: it is a folder, not an image; choose a file in it")
    kind = image_kind(path)
    if kind == "zip":
        raise ImageError(f"cannot read {path.name}: it is packed as a zip file; unpack it, and open the folder in it")
    if suffix == ".zarr":  # a reader plugin would look for a folder, and warn on the user's terminal
        raise ImageError(
            f"cannot read {path.name}: it is a file, while a Zarr image is a folder; copy the whole folder"
        )
    known = suffix in _TIFF or suffix in _CODECS or suffix == ".npy"
    if known and not kind:
        raise ImageError(f"cannot read {path.name}: in spite of its name it is no '{suffix}' image; export it again")
    if not known:
        from napari_cellclass.core.images.arrays import no_reader_message, read_plugin

        try:
            return read_plugin(path, t=t, z=z, scene=scene)
        except ImageError as error:
            if not kind or str(error) != str(ImageError(no_reader_message(path))):
                raise  # else no plugin knows the name, but the content is known here
    return _read_kind(path, kind, t, z, scene)


def _read_kind(path: Path, kind: str, t: int, z: int, scene: int | None) -> SourceImage:
    if kind == "tiff":
        from napari_cellclass.core.images.tiff import read_tiff

        return read_tiff(path, t=t, z=z, scene=scene)
    if scene:
        raise ImageError(f"{path.name} has no image {scene}; it has only image 0")
    if kind == "npy":
        from napari_cellclass.core.images.arrays import read_npy

        return read_npy(path, t=t, z=z)
    from napari_cellclass.core.images.codecs import read_codec

    return read_codec(path, kind, t=t, z=z)


def image_kind(path: Path) -> str:
    """Recognise the format by the first bytes; empty when they are not conclusive."""
    with path.open("rb") as stream:
        head = stream.read(16)
    if not head:
        raise ImageError(f"cannot read {path.name}: the file is empty (0 bytes); copy or export it again")
    if head.startswith(_ZIP) and path.suffix.lower() in (".zip", ".ozx"):
        return "zip"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    return next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), "")
