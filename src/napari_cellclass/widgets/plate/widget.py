"""The widget *Classify plate*: many fields, a model, and the plate, from which every field opens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from magicgui.widgets import FileEdit
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError, ParamsError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.params.classify import ClassifyParams
from napari_cellclass.core.params.slides import SlidesParams
from napari_cellclass.runs.classify.slides import SlidesReport
from napari_cellclass.viewer.features.plate_layers import PlateLayers
from napari_cellclass.widgets.common.choices.settings_form import TrainForm
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.docks import CLASSIFY
from napari_cellclass.widgets.common.help.button import HelpButton
from napari_cellclass.widgets.common.job_panel import JobPanel
from napari_cellclass.widgets.common.keras_dialog import run_with_keras_details
from napari_cellclass.widgets.common.layer_removal import fix_layer_removal
from napari_cellclass.widgets.common.layout import labelled
from napari_cellclass.widgets.plate import work
from napari_cellclass.widgets.plate.results import PlateResults
from napari_cellclass.widgets.plate.sources import PlateSources

if TYPE_CHECKING:
    from napari.viewer import Viewer

_SETTINGS = ["control", "workers", "error_rate", "precision"]
_SHOWN_FAILURES = 3
_VIEW_SETTLES_MS = 120


class PlateWidget(DockedWidget):
    """Classify many fields as the command does, view the plate, and open its fields.

    Parameters
    ----------
    napari_viewer
        The viewer; napari finds the parameter by this name.
    """

    display_name = "Classify plate"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        fix_layer_removal(self, napari_viewer)
        self.layers = PlateLayers(napari_viewer)
        self._build()
        self.run_button.clicked.connect(self.run)
        self.results.opened.connect(self.open_field)
        self.results.slides_button.clicked.connect(self._ask_and_export_slides)
        self._view_timer = QTimer(self)
        self._view_timer.setSingleShot(True)
        self._view_timer.setInterval(_VIEW_SETTLES_MS)
        self._view_timer.timeout.connect(self.layers.map.refresh_view)
        self.viewer.scene.camera.events.connect(self._view_moved)
        self.panel.show_message("Choose images, a model and a folder for the results, and press Run.")

    def _build(self) -> None:
        self.sources = PlateSources(self.viewer)
        self.sources.first_row.addWidget(HelpButton(self.display_name))
        self.model = FileEdit(
            filter="Models (*.cellclass *.keras)", tooltip="the model; when empty, that of Classify field"
        )
        self.out = FileEdit(mode="d", tooltip="a folder for the tables; complete fields in it are reused")
        self.wells = FileEdit(
            filter="Tables (*.csv)", tooltip="a CSV image,well; when empty, wells are read from the names of the files"
        )
        self.conditions = FileEdit(
            filter="Tables (*.csv)",
            tooltip="a CSV with the columns well or image, condition and replicate; conditions are compared on the "
            "means of replicates",
        )
        hints = ("that of Classify field", "a folder", "from the file names", "none")
        for edit, hint in zip((self.model, self.out, self.wells, self.conditions), hints, strict=True):
            edit.line_edit.value = ""
            edit.line_edit.native.setPlaceholderText(hint)
        self.form = TrainForm(_SETTINGS, ClassifyParams)
        self.run_button = QPushButton("Run")
        self.results = PlateResults(self.viewer)
        self.panel = JobPanel([self.run_button, self.results.open_button, self.results.slides_button])
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.addWidget(self.sources)
        edits = {"model": self.model, "results": self.out, "wells": self.wells, "conditions": self.conditions}
        column.addLayout(labelled(*((name, edit.native) for name, edit in edits.items())))
        for widget in (self.form, self.run_button, self.panel, self.results):
            column.addWidget(widget)
        column.addStretch(1)
        self._scroll = self.fill(inner)

    # -- request -------------------------------------------------------------------------------

    def set_model(self, path: Path) -> None:
        """Choose a model, as if its path had been typed."""
        self.model.line_edit.value = str(path)

    def set_out(self, path: Path) -> None:
        """Choose the folder for the results, as if its path had been typed."""
        self.out.line_edit.value = str(path)

    def _request_from_form(self) -> work.PlateRequest:
        files, layers = self.sources.chosen()
        out = _path(self.out)
        if out is None:
            raise ParamsError("no folder for the results is chosen; choose one")
        values = {name: value for name, value in self.form.values().items() if value is not None}
        # Layers that are in no file have paths only once they are written.
        params = ClassifyParams.checked(
            images=files or [Path()], model=self._model_path(), out=out, wells=_path(self.wells),
            conditions=_path(self.conditions), **values,
        )  # fmt: skip
        return work.PlateRequest(params, tuple(layers))

    def _model_path(self) -> Path:
        path = _path(self.model)
        if path is not None:
            return path
        classify = CLASSIFY.find(self)
        path = None if classify is None else classify.chosen_model()
        if path is None:
            raise ParamsError("no model is chosen; choose a .cellclass file, or train one")
        self.set_model(path)
        return path

    # -- running -------------------------------------------------------------------------------

    def run(self) -> None:
        """Classify the fields; the window stays responsive."""
        if self.panel.running:
            return
        try:
            run_with_keras_details(self.panel, work.run, self._done, self._request_from_form(), self)
        except CellClassError as error:
            self.panel.failed(error)

    def _done(self, result: work.PlateResult) -> None:
        self.results.show_result(result)
        report = result.report
        lines = ["Cancelled: " + self.results.summary() if report.cancelled else self.results.summary()]
        lines += [f"Warning: {text}." for text in report.warnings]
        lines += [outcome.error for outcome in report.failed[:_SHOWN_FAILURES]]
        if len(report.failed) > _SHOWN_FAILURES:
            lines.append(f"{counted(len(report.failed), 'image')} failed in all; each is named in report.json.")
        self.panel.show_message("\n".join(lines), warn=bool(report.failed))

    # -- fields --------------------------------------------------------------------------------

    def open_field(self, row: pd.Series) -> None:
        """Open a field of the plate in the viewer, with the map of its written table."""
        result = self.results.result
        if result is None or self.panel.running:
            return
        if row["state"] != "done":
            self.panel.show_message(f"{row['stem']} has no table; report.json says why.", warn=True)
            return
        params = result.request.params
        self.panel.run(work.open_field, self._opened, params=params, image=row["image"], stem=row["stem"])

    def _opened(self, found: work.FieldInView) -> None:
        assert self.panel.job is not None
        self.panel.job.show_in_steps(self._show_field(found))

    def _show_field(self, found: work.FieldInView) -> Iterator[None]:
        picture = found.picture
        yield from self.layers.show_in_steps(picture.source, picture.pixels, picture.step, found.new)
        self.panel.show_message(f"{picture.source.name} with its map: {counted(len(found.new.table), 'tile')}.")

    def _ask_and_export_slides(self) -> None:
        assert self.results.result is not None
        start = self.results.result.request.params.out
        name = QFileDialog.getExistingDirectory(self, "A folder for the pictures", str(start))
        if name:
            self.export_slides(Path(name))

    def export_slides(self, folder: Path) -> None:
        """Write pictures for slides of the listed fields to a folder; the window stays responsive."""
        result, stems = self.results.result, self.results.listed_stems()
        if result is None or self.panel.running:
            return
        if not stems:
            self.panel.show_message("No listed field is classified; choose another well.", warn=True)
            return
        background = self.results.background.currentText()
        params = SlidesParams.checked(folder=result.request.params.out, out=folder, background=background)
        self.panel.run(work.export_slides, self._slides_written, params=params, stems=stems)

    def _slides_written(self, report: SlidesReport) -> None:
        lines = [f"{counted(len(report.written), 'picture')} in {report.out}.", *(f"{text}." for text in report.notes)]
        self.panel.show_message("\n".join([*lines, *report.failed[:_SHOWN_FAILURES]]), warn=bool(report.failed))

    def _view_moved(self, event: Any = None) -> None:
        self._view_timer.start()

    def close_down(self, window_stays: bool) -> None:
        """Leave no job running; finished fields are on disk."""
        self.viewer.scene.camera.events.disconnect(self._view_moved)
        self.results.conditions.close_down()
        self.panel.close_down()


def _path(edit: FileEdit) -> Path | None:
    text = str(edit.line_edit.value).strip()
    return None if text in ("", ".") else Path(text)
