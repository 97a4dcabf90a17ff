"""The result of a training: the held-out accuracy beside the previous one's, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.models.head_record import HeadRecord
from napari_cellclass.core.models.teacher_record import TeacherRecord
from napari_cellclass.core.models.texture_decision import TextureHead
from napari_cellclass.core.stats.calibration import Calibration
from napari_cellclass.report.evaluation_figures import draw_calibration
from napari_cellclass.widgets.common.figure_view import FigureView
from napari_cellclass.widgets.common.jobs import start_job
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel, plain_tip
from napari_cellclass.widgets.train import work
from napari_cellclass.widgets.train.work import Trained

if TYPE_CHECKING:
    from napari.viewer import Viewer

_RELIABILITY_PX = 190
FAST = "compact"
"""The network that copies others for plates."""


class Outcome(QWidget):
    """The figures of the last training in this window.

    ``classify`` is sent with the model's path when the user wants the field classified with it, ``copy`` when a
    faster network is to learn from it.
    """

    classify = Signal(object)
    copy = Signal(object)

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.trained: list[Trained] = []
        self.text, self.warning, self.details = WrappedLabel(), WrappedLabel(), WrappedLabel()
        self.warning.set_warning(True)
        self.details_button = QPushButton("Details")
        self.details_button.setCheckable(True)
        self.details_button.setToolTip("accuracy of each part of the model, and its calibration")
        self.details_button.toggled.connect(self.details.setVisible)
        self.details.setVisible(False)
        self.classify_button = QPushButton("Classify with this model")
        self.copy_button = QPushButton("Fast copy for plates")
        self.copy_button.setToolTip(
            "teach the compact network what this model says of all tiles of the labelled fields, also of those without "
            "a label: it classifies several times as fast"
        )
        self.save_button = QPushButton("Save curves")
        self.save_button.setToolTip("write the curves as PNG and CSV")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.text)
        column.addWidget(self.warning)
        column.addWidget(self.details_button)
        column.addWidget(self.details)
        self.reliability = FigureView(viewer, lambda width: _RELIABILITY_PX)
        self.reliability.setToolTip(
            "accuracy of held-out tiles by their confidence, before and after calibration; each group with the "
            "temperature of the others"
        )
        column.addWidget(self.classify_button)  # three in a row are wider than the dock
        column.addLayout(row_of(self.copy_button, self.save_button))
        column.addWidget(self.reliability)
        self.classify_button.clicked.connect(self._classify)
        self.copy_button.clicked.connect(self._copy)
        self.save_button.clicked.connect(self._ask_and_save)
        self.setVisible(False)

    def add(self, trained: Trained) -> None:
        """Show a model that has just been trained."""
        previous = self.trained[-1] if self.trained else None
        self.trained.append(trained)
        self.text.setText(describe_training(trained, previous))
        details = describe_details(trained)
        self.details.setText(details)
        self.details_button.setVisible(bool(details))
        self.details.setVisible(bool(details) and self.details_button.isChecked())
        warnings = trained.model.manifest.scores.get("warnings", [])
        warnings = [*warnings, *(text for test in trained.tests.values() for text in test.get("warnings", []))]
        self.warning.setText("\n".join(f"Warning: {text}." for text in warnings))
        self.warning.setVisible(bool(warnings))
        self._show_reliability(trained.model.manifest.calibration)
        self.copy_button.setVisible(trained.model.manifest.network != FAST)
        self.save_button.setText("Save curves")
        self.setVisible(True)

    def _show_reliability(self, calibration: Calibration | None) -> None:
        if calibration is None or not calibration.reliability_before:
            self.reliability.clear_figure()
        else:
            self.reliability.show_figure(partial(draw_calibration, calibration))

    def close_down(self) -> None:
        """Stop following the viewer."""
        self.reliability.close_down()

    def _classify(self) -> None:
        self.classify.emit(self.trained[-1].model.path)

    def _copy(self) -> None:
        self.copy.emit(self.trained[-1].model.path)

    def _ask_and_save(self) -> None:
        start = self.trained[-1].model.path.with_suffix(".png")
        name, _ = QFileDialog.getSaveFileName(self, "Save curves", str(start), "PNG and CSV (*.png)")
        if name:
            job = start_job(work.save_history, owner=self, trained=self.trained[-1], path=Path(name))
            job.returned.connect(self._saved)
            job.failed.connect(self._not_saved)

    def _saved(self, paths: list[Path]) -> None:
        self.save_button.setToolTip(plain_tip(f"wrote {' and '.join(str(path) for path in paths)}"))
        self.save_button.setText("Saved")

    def _not_saved(self, error: Exception) -> None:
        self.warning.setText(str(error))
        self.warning.setVisible(True)


def describe_training(trained: Trained, previous: Trained | None) -> str:
    """Describe the accuracy of a model on its held-out tiles, beside that of the previous model."""
    now, training = trained.validation, trained.model.manifest.training
    stopped = training["epoch_kept"] < training["epochs_trained"] or training["epochs_trained"] < training["epochs"]
    caveat = ", slightly optimistic, as the epoch was chosen on them" if stopped else ""
    head = HeadRecord.of(training)
    if head is None:
        how = f"on {_tiles(now, 'held-out')}{caveat}"
    else:
        how = f"estimated by {head.held_out}; the model kept is fitted to all {counted(head.tiles, 'tile')}"
    lines = [f"{trained.model.path.name}: balanced accuracy {_estimate(now)}, {how}."]
    if previous is not None:
        change = now["balanced_accuracy"]["value"] - previous.validation["balanced_accuracy"]["value"]
        same = "on the same tiles" if trained.held_out == previous.held_out else "other tiles were held out then"
        lines.append(
            f"Before, {previous.model.path.name}: {_estimate(previous.validation)}; {change:+.3f} now ({same})."
        )
    taught = TeacherRecord.of(training)
    if taught is not None:
        lines.append(taught.brief())
    if stopped:
        lines.append(
            f"Stopped after {training['epochs_trained']} of {training['epochs']} epochs; the best, epoch "
            f"{training['epoch_kept']}, of the lowest loss on the held-out tiles, is kept."
        )
    for name, test in trained.tests.items():
        lines.append(f"Test set {Path(name).name}: balanced accuracy {_estimate(test)}, on {_tiles(test, 'test')}.")
    return "\n".join(lines)


def describe_details(trained: Trained) -> str:
    """Describe what few need to know of a training: the parts of the model, and its calibration."""
    manifest, lines = trained.model.manifest, []
    head, texture = HeadRecord.of(manifest.training), TextureHead.of(manifest.training)
    if head is not None:
        lines.append(head.brief())
    if texture is not None and texture.joined:
        lines.append(texture.brief())
    calibration = manifest.calibration
    if calibration is not None:
        lines.append(
            f"Calibration error (ECE): {calibration.ece_before:.3f} before and {calibration.ece_after:.3f} after "
            f"calibration, {_calibration_caveat(calibration)}."
        )
    if manifest.quantised is not None and manifest.quantised.kept:
        _, changed, accuracy, *_ = manifest.quantised.describe()
        lines.append(f"Also in int8: {accuracy}; {changed}.")
    return "\n".join(lines)


def _calibration_caveat(calibration: Calibration) -> str:
    if calibration.cross_fitted:
        return "each group with the temperature of the others"
    return "on the tiles that it was fitted to, so optimistic"


def _tiles(report: Mapping[str, Any], kind: str) -> str:
    groups = report["groups"]
    return f"{counted(report['n'], f'{kind} tile')} of {counted(groups, 'group')}"


def _estimate(validation: dict[str, Any]) -> str:
    value = validation["balanced_accuracy"]
    if value["lo"] is None:
        return f"{value['value']:.3f} (too few groups for a confidence interval)"
    return f"{value['value']:.3f} (95 % confidence interval {value['lo']:.3f} to {value['hi']:.3f})"
