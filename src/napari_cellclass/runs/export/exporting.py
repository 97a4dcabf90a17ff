"""Export of a model: the files are written once the model in them predicts as before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_cellclass.core.common.errors import OutputError
from napari_cellclass.core.common.files import atomic_write, check_writable, write_text
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.interchange.bioimageio import bioimageio_package
from napari_cellclass.core.interchange.qupath_script import qupath_readme, qupath_script
from napari_cellclass.core.models.bundle import SUFFIX, ModelBundle, open_bundle
from napari_cellclass.core.params.export import ENDINGS, ExportParams
from napari_cellclass.engine.common.environment import import_onnx, import_onnxruntime, import_opencv
from napari_cellclass.engine.onnx_export.graph import OPSET
from napari_cellclass.engine.onnx_export.model import build_onnx, metadata
from napari_cellclass.engine.onnx_export.replay import Replay, replay_golden

__all__ = ["ExportReport", "export_model"]


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Parameters
    ----------
    files
        The files, the model first.
    replay
        How well it predicts the golden tiles.
    notes
        What a user should know, a sentence each.
    """

    files: tuple[Path, ...]
    replay: Replay
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Describe it."""
        one = self.replay
        return [
            *(f"wrote {path}" for path in self.files),
            f"{counted(one.tiles, 'golden tile')} replayed: probabilities differ by at most {one.onnxruntime:.2g} in "
            f"ONNX Runtime and {one.opencv:.2g} in OpenCV",
            *self.notes,
        ]


def export_model(params: ExportParams, task: Task = NO_TASK) -> ExportReport:
    """Write a model for other programs.

    Parameters
    ----------
    params
        Which model, format and file.
    task
        Gets the progress of each step.

    Raises
    ------
    ModelError
        The model is missing or damaged, or cannot be written in that format.
    EngineError
        A package is not installed, or the exported model predicts otherwise; nothing was written.
    OutputError
        A file exists, or cannot be written.
    CancelledError
        Nothing was written.
    """
    bundle = _opened(params.model)
    files = _targets(params)
    for path in files:
        if path.exists() and not params.force:
            raise OutputError(f"{path} exists; choose another name, or write over it with --force")
    check_writable(files[0])
    for needed in (import_onnx, import_onnxruntime, import_opencv):
        needed()
    task.progress("exporting")
    content = build_onnx(bundle)
    task.check("cancelled; nothing was written")
    task.progress("replaying golden tiles")
    replay = replay_golden(bundle, content)
    task.check("cancelled; nothing was written")
    task.progress("writing")
    if params.format == "bioimageio":
        name = files[0].name[: -len(ENDINGS["bioimageio"])]
        _write(files[0], bioimageio_package(bundle, name, content, OPSET, metadata(bundle)))
    else:
        _write(files[0], content)
        write_text(files[1], qupath_script(bundle, files[0].name))
        write_text(files[2], qupath_readme(bundle, files[0].name))
    return ExportReport(files, replay, _notes(bundle))


def _opened(path: Path) -> ModelBundle:
    if path.suffix.lower() == ".keras":
        raise OutputError(f"{path} is no {SUFFIX} model; train one, as a .keras file lacks what an export needs")
    return open_bundle(path)


def _targets(params: ExportParams) -> tuple[Path, ...]:
    target = params.target
    if params.format == "bioimageio":
        return (target,)
    return target, target.with_suffix(".groovy"), target.with_suffix(".qupath.txt")


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def _notes(bundle: ModelBundle) -> tuple[str, ...]:
    notes = []
    if bundle.has_int8:
        notes.append("the float32 network was exported, not the int8 one")
    if bundle.preprocess.percentiles is not None:
        notes.append("the model takes grey values that are scaled by percentiles of their field, which no tile knows")
    return tuple(notes)
