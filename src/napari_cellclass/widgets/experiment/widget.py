"""The widget *Experiment*: has a network learned or memorised? Repeated runs, comparisons, and a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import FileEdit
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.task import Progress
from napari_cellclass.core.evaluation.headlines import verdict_headline
from napari_cellclass.core.params.experiment import ExperimentParams
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.widgets.common.choices.data_choice import DataChoice
from napari_cellclass.widgets.common.choices.settings_form import TrainForm
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.help.button import HelpButton
from napari_cellclass.widgets.common.job_panel import JobPanel
from napari_cellclass.widgets.common.layout import labelled, row_of
from napari_cellclass.widgets.common.results.window import ResultsWindow
from napari_cellclass.widgets.experiment import work
from napari_cellclass.widgets.experiment.results import ExperimentResults

if TYPE_CHECKING:
    from napari.viewer import Viewer

_NETWORK = ["network", "standardise", "epochs", "augment"]
_COMPARED = ["runs", "folds", "null", "curve", "pair", "repeats", "workers"]


class ExperimentPanel(JobPanel):
    """Counts the trainings; the message says that finished ones are kept."""

    def _progressed(self, update: Progress) -> None:
        metrics = update.metrics
        if "runs" not in metrics:
            super()._progressed(update)
            return
        run, runs = int(metrics["run"]), int(metrics["runs"])
        fraction = update.done / update.total if update.phase == "training" and update.total else 0.0
        if update.phase == "epoch":
            fraction = (metrics["epoch"] - 1) / metrics["epochs"]
        self.bar.setRange(0, 100 * runs)
        self.bar.setValue(max(self.bar.value(), round(100 * (run - 1 + fraction))))
        self.bar.setFormat(f"training {run} of {runs}")
        if update.phase == "training":
            self.show_message(
                f"Training {run} of {runs}, epoch {update.done} of {update.total}: accuracy "
                f"{metrics['accuracy']:.3f}, on held-out tiles {metrics['val_accuracy']:.3f}."
            )


class ExperimentWidget(DockedWidget):
    """Train repeatedly, compare, and judge whether the classes were learned.

    Parameters
    ----------
    napari_viewer
        The viewer; napari finds the parameter by this name.
    """

    display_name = "Experiment"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.result: work.ExperimentResult | None = None
        self._more: dict[str, Any] = {}
        self._suggested = ""
        self._build()
        self.data.changed.connect(self._data_changed)
        self.start_button.clicked.connect(self.start)
        self.pair_button.clicked.connect(self.start_pair)
        events = self.viewer.layers.events
        self._events = (events.inserted, events.removed, events.reordered)
        for event in self._events:
            event.connect(self._layers_changed)
        self._data_changed()
        self.panel.show_message(
            "Choose labelled tiles and a folder, and press a button. Started again, it continues where it stopped."
        )

    def _build(self) -> None:
        self.data = DataChoice(self.viewer)
        self.data.first_row.addWidget(HelpButton(self.display_name))
        self.network = TrainForm(_NETWORK, ExperimentParams)
        self.compared = TrainForm([n for n in _COMPARED if n in ExperimentParams.model_fields], ExperimentParams)
        self.out = FileEdit(
            mode="d", tooltip="folder for verdict, tables, figures and models; choose an earlier one to continue it"
        )
        self.start_button, self.pair_button = QPushButton("Learned or memorised?"), QPushButton("By tile or by group?")
        self.start_button.setToolTip("train everything that is ticked, and give a verdict")
        self.pair_button.setToolTip("only compare the accuracy on tiles held out at random with that on whole groups")
        self.panel = ExperimentPanel([self.start_button, self.pair_button])
        self.results = ExperimentResults(self.viewer)
        self.window_of_results = ResultsWindow(self, self.display_name, self.results)
        inner = QWidget()
        column = QVBoxLayout(inner)
        for widget in (self.data, self.network, self.compared):
            column.addWidget(widget)
        column.addLayout(labelled(("folder", self.out.native)))
        column.addLayout(row_of(self.start_button, self.pair_button))
        column.addWidget(self.panel)
        column.addWidget(self.window_of_results.summary)
        column.addStretch(1)
        self._scroll = self.fill(inner)

    def set_training(self, data: DataChoice, *forms: TrainForm) -> None:
        """Choose the tiles and settings of the widget Train, also those that have no field here.

        While an experiment is running nothing changes.
        """
        if self.panel.running:
            return
        self.data.copy_from(data)
        values = {name: value for one in forms for name, value in one.values().items()}
        for name, field in self.network.fields.items():
            field.value = values.pop(name, field.value)
        self._more = values

    def _layers_changed(self, event: Any = None) -> None:
        self.data.refresh()

    def _data_changed(self) -> None:
        if str(self.out.value) in (self._suggested, ".", ""):
            name = Path(self.data.suggestion() or "tiles").stem
            self._suggested = str(self.data.folder_above() / f"{name}_experiment")
            self.out.value = self._suggested

    # -- an experiment -------------------------------------------------------------------------

    def start(self) -> None:
        """Train everything that is ticked, or continue an earlier experiment."""
        self._run({})

    def start_pair(self) -> None:
        """Train by group and by tile, and nothing else."""
        self._run({"null": False, "curve": False, "pair": True})

    def _params_from_form(self, changes: dict[str, Any]) -> ExperimentParams:
        values = self._more | self.network.values()
        if values.get("as_published"):
            values = {name: value for name, value in values.items() if value != TrainParams.model_fields[name].default}
        values |= self.compared.values() | changes | self.data.values() | {"out": Path(self.out.value)}
        checked: ExperimentParams = ExperimentParams.checked(**values)
        return checked

    def _run(self, changes: dict[str, Any]) -> None:
        if self.panel.running:
            return
        try:
            params, fields = self._params_from_form(changes), self.data.fields()
        except CellClassError as error:
            self.panel.failed(error)
            return
        self.window_of_results.drop_results()
        self.panel.run(work.run, self._ended, params=params, fields=fields)
        self.panel.show_message("Starting …")
        assert self.panel.job is not None
        self.panel.job.cancelled.connect(self._cancelled)

    def _cancelled(self) -> None:
        self.panel.show_message("Cancelled; finished trainings are kept, and reused when you press the button again.")

    def _ended(self, result: work.ExperimentResult) -> None:
        self.result = result
        self.results.show_result(result)
        self.window_of_results.set_headline(verdict_headline(result.verdict))
        self.window_of_results.open_results()
        self.panel.show_message(
            f"{result.verdict['trainings']} trainings; verdict, tables and figures are in {result.out}."
        )

    # -- window --------------------------------------------------------------------------------

    def lasting_work(self) -> str:
        """Name the experiment, while one is running."""
        return self.running_work()

    def close_down(self, window_stays: bool) -> None:
        """Leave no job running; finished trainings are on disk."""
        self.panel.close_down()
        self.results.close_down()
        self.window_of_results.close()
        for one in self._events:
            one.disconnect(self._layers_changed)
