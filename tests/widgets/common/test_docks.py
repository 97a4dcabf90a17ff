"""The widgets that others find by name are those of the manifest, and do what is asked of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from npe2 import PluginManifest
from qtpy.QtWidgets import QLabel

from napari_cellclass.widgets.classify.widget import MapPage
from napari_cellclass.widgets.common.docks import (
    CLASSIFY,
    EXPERIMENT,
    TRAIN,
    ClassifyDock,
    Dock,
    ExperimentDock,
    TrainDock,
)
from napari_cellclass.widgets.train.widget import TrainPage
from napari_cellclass.widgets.workspace.widget import AnnotateTilesOpener, ClassifyFieldOpener, TrainOpener

OPENERS = (ClassifyFieldOpener, AnnotateTilesOpener, TrainOpener)


def widget_classes() -> dict[str, type[Any]]:
    """The classes of the manifest's widgets, by display name."""
    contributions = PluginManifest.from_distribution("napari-cellclass").contributions
    names = {command.id: command.python_name for command in contributions.commands or []}
    found = {}
    for widget in contributions.widgets or []:
        module, _, name = str(names[widget.command]).partition(":")
        found[widget.display_name] = getattr(import_module(module), name)
    return found


def members(protocol: type[Any]) -> set[str]:
    """What a protocol asks for."""
    return {name for name in (*vars(protocol), *protocol.__annotations__) if not name.startswith("_")}


def test_every_widget_bears_its_name_of_the_manifest() -> None:
    classes = widget_classes()
    assert len(classes) == 10
    assert {name: widget.display_name for name, widget in classes.items()} == {name: name for name in classes}


@pytest.mark.parametrize(
    ("dock", "protocol"),
    [(CLASSIFY, ClassifyDock), (EXPERIMENT, ExperimentDock), (TRAIN, TrainDock)],
)
def test_a_widget_has_what_others_ask_of_it(dock: Dock[Any], protocol: type[Any]) -> None:
    classes = {one.display_name: one for one in (*widget_classes().values(), TrainPage, MapPage) if one not in OPENERS}
    widget = classes[dock.display_name]
    asked = members(protocol)
    assert asked
    assert asked <= {*dir(widget), *widget.__annotations__}


@pytest.mark.parametrize(
    "name", ["Cell Class", "Classify plate", "Experiment", "Evaluate", "Scatter", "Prepare tiles", "Blinded reading"]
)
def test_what_a_dock_shows_takes_its_whole_height_however_many_docks_were_opened_before(
    viewer: Any, qtbot: Any, name: str
) -> None:
    for _ in range(4):  # napari counts them, and would give as much stretch to empty space below
        viewer.window.add_dock_widget(QLabel(), name="other", area="left").destroyOnClose()
    _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", name)
    qtbot.waitUntil(lambda: widget.filled and widget.height() > 400)

    def lowest() -> int:
        layout = widget.layout()
        shown = [one.geometry() for i in range(layout.count()) if not (one := layout.itemAt(i)).isEmpty()]
        return max(one.bottom() for one in shown)

    qtbot.waitUntil(lambda: lowest() >= widget.height() - 12)
