"""The widget *Evaluate*: a model, labelled tiles that it has not seen, and how well it classifies them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import FileEdit
from qtpy.QtWidgets import QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError, ParamsError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.evaluation.example_tiles import PanelTile
from napari_cellclass.core.evaluation.results import Evaluation
from napari_cellclass.core.params.evaluate import EvaluateParams
from napari_cellclass.core.workspace.project_file import is_project
from napari_cellclass.runs.evaluate.named_sets import EvaluatedModel
from napari_cellclass.viewer.features.evaluated_layers import EvaluatedLayers
from napari_cellclass.widgets.common.choices.settings_form import TrainForm
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.docks import CLASSIFY, TRAIN
from napari_cellclass.widgets.common.figure_view import warm_up
from napari_cellclass.widgets.common.help.button import beside_help
from napari_cellclass.widgets.common.job_panel import JobPanel
from napari_cellclass.widgets.common.jobs import Job, start_job
from napari_cellclass.widgets.common.keras_dialog import run_with_keras_details
from napari_cellclass.widgets.common.layout import labelled
from napari_cellclass.widgets.common.results.window import ResultsWindow
from napari_cellclass.widgets.evaluate import work
from napari_cellclass.widgets.evaluate.results import EvaluationResults
from napari_cellclass.widgets.evaluate.sets import SetList

if TYPE_CHECKING:
    from napari.viewer import Viewer

_SETTINGS = ["group_by", "precision", "shortcuts", "stress"]
_MAX_ON_SHEET = 100


class EvaluateWidget(DockedWidget):
    """Evaluate a model on test sets, and see the tiles behind every figure.

    Parameters
    ----------
    napari_viewer
        The viewer; napari finds the parameter by this name.
    """

    display_name = "Evaluate"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self._reading: Job | None = None
        self._requests = 0
        self._sheet: tuple[Evaluation, dict[int, PanelTile]] | None = None
        self.layers = EvaluatedLayers(napari_viewer, self._open_tile_of_sheet)
        self._build()
        self.run_button.clicked.connect(self.run)
        self.results.headline_changed.connect(self.window_of_results.set_headline)
        self.results.cell.connect(self._show_cell)
        self.results.opened.connect(self._open)
        self.results.save.connect(self._ask_and_save)
        start_job(warm_up)
        self.panel.show_message("Choose a model and labelled tiles that it was not trained on, and press Run.")

    def _build(self) -> None:
        self.model = FileEdit(
            filter="Models (*.cellclass *.keras)",
            tooltip="the model to evaluate; when empty, that of Classify field or the last one trained",
        )
        self.model.line_edit.value = ""
        self.model.line_edit.native.setPlaceholderText("that of Classify field, or the last trained")
        self.sets = SetList()
        self.form = TrainForm(_SETTINGS, EvaluateParams)
        self.sets.changed.connect(self._sets_changed)
        self.run_button = QPushButton("Run")
        self.results = EvaluationResults(self.viewer)
        self.window_of_results = ResultsWindow(self, self.display_name, self.results)
        self.panel = JobPanel([self.run_button, self.results.save_button])
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.addLayout(labelled(("model", beside_help(self.model.native, self.display_name))))
        for widget in (self.sets, self.form, self.run_button, self.panel, self.window_of_results.summary):
            column.addWidget(widget)
        column.addStretch(1)
        self._scroll = self.fill(inner)

    # -- request -------------------------------------------------------------------------------

    def _sets_changed(self, paths: list[Path]) -> None:
        self.form.fields["group_by"].offer_data(*(path for path in paths if not is_project(path)))

    def set_model(self, path: Path) -> None:
        """Choose a model, as if its path had been typed."""
        self.model.line_edit.value = str(path)

    def _model_path(self) -> Path:
        """Give the model that is chosen here, in Classify field, or that was trained last."""
        text = str(self.model.line_edit.value).strip()
        if text not in ("", "."):
            return Path(text)
        train, classify = TRAIN.find(self), CLASSIFY.find(self)
        chosen = None if classify is None else classify.chosen_model()
        path = chosen or (None if train is None else train.last_model())
        if path is None:
            raise ParamsError("no model is chosen; choose a .cellclass file, or train one")
        return path

    def _request_from_form(self) -> work.EvaluateRequest:
        model, sets = self._model_path(), self.sets.chosen()
        values = {name: value for name, value in self.form.values().items() if value is not None}
        data = [str(one.path) for one in sets]
        params = EvaluateParams.checked(data=data, model=model, out=Path(), **values)
        self.set_model(model)
        return work.EvaluateRequest(params, sets)

    # -- running -------------------------------------------------------------------------------

    def run(self) -> None:
        """Evaluate the model; the window stays responsive."""
        if self.panel.running:
            return
        try:
            run_with_keras_details(self.panel, work.run, self._evaluated, self._request_from_form(), self)
            self.window_of_results.drop_results()  # of other sets or another model
        except CellClassError as error:
            self.panel.failed(error)

    def _evaluated(self, evaluated: EvaluatedModel) -> None:
        self.results.show_evaluated(evaluated)
        skipped = [reason for one in evaluated.sets for _, reason in one.evaluation.data.skipped]
        text = f"{evaluated.model.path.name} was tested on {counted(len(evaluated.sets), 'set')}"
        text += "." if evaluated.params.precision == "f32" else f", in {evaluated.params.precision}."
        if evaluated.warning:
            text += f"\n{evaluated.warning}"
        if skipped:
            text += f"\nSkipped: {counted(len(skipped), 'file')}, such as: {skipped[0]}"
        self.panel.show_message(text)
        self.window_of_results.tell("")
        self.window_of_results.open_results()

    def _say(self, text: str) -> None:
        """Show a message where the user has clicked, and in the dock."""
        self.panel.show_message(text)
        self.window_of_results.tell(text)

    # -- tiles ---------------------------------------------------------------------------------

    def _read(self, function: Any, returned: Any, **kwargs: Any) -> None:
        """Read something for the viewer; an earlier request is dropped."""
        if self._reading is not None:
            self._reading.cancel()
        self._requests += 1
        number = self._requests
        self._reading = job = start_job(function, owner=self, **kwargs)
        job.returned.connect(lambda found: returned(found) if number == self._requests else None)
        job.failed.connect(lambda error: self.panel.failed(error) if number == self._requests else None)

    def _show_cell(self, truth: int, predicted: int) -> None:
        evaluation, tile_indices = self.results.shown.evaluation, self.results.panel.tile_indices
        if len(tile_indices) == 0:
            self._say("There are no such tiles.")
            return
        name = f"{self.results.shown.name}: {self.results.panel.cell_text()}"

        def show(tiles: tuple[PanelTile, ...]) -> None:
            self._sheet = evaluation, {tile.tile_index: tile for tile in tiles}
            self.layers.show_sheet(tiles, name)
            first = (
                "" if len(tiles) == len(tile_indices) else f"The first {len(tiles)} of {len(tile_indices):,} tiles. "
            )
            self._say(f"{first}Double-click a tile to see it in its field.")

        self._read(work.tiles, show, evaluation=evaluation, tile_indices=tile_indices[:_MAX_ON_SHEET])

    def _open_tile_of_sheet(self, tile_index: int) -> None:
        if self._sheet is not None:
            self._open(self._sheet[0], self._sheet[1][tile_index])

    def _open(self, evaluation: Evaluation, tile: PanelTile) -> None:
        self._read(work.open_tile, self._opened, evaluation=evaluation, tile=tile)

    def _opened(self, found: work.TileInField) -> None:
        picture = found.picture
        self.layers.show_tile(picture.source, picture.pixels, picture.step, found.box, found.tile)
        self.window_of_results.show_napari()

    # -- the kit -------------------------------------------------------------------------------

    def _ask_and_save(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "A folder to write the kit to")
        if name:
            self.save_kit(Path(name) / "kit")

    def save_kit(self, out: Path) -> None:
        """Write the kit for a paper to a folder."""
        evaluated = self.results.evaluated
        assert evaluated is not None
        self.panel.run(work.write_kit, self._saved, evaluated=evaluated, out=out)

    def _saved(self, out: Path) -> None:
        self._say(f"Figures, tables and methods.md are in {out}.")

    def close_down(self, window_stays: bool) -> None:
        """Leave no job running."""
        self._requests += 1
        if self._reading is not None:
            self._reading.cancel()
        self.panel.close_down()
        self.results.close_down()
        self.window_of_results.close()
