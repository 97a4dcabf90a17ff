"""The page *Slice* of the Prepare widget: fields in, tiles out, with a preview of what would be dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import FileEdit
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QPushButton, QRadioButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError, ParamsError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.params.prepare import SliceParams
from napari_cellclass.core.tiles.background import default_limit, foreground_tiles
from napari_cellclass.runs.prepare.slicing import SliceReport, slice_images
from napari_cellclass.viewer.common.map_view import FieldLayer
from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.viewer.features.background_layers import BackgroundLayers, add_field_layers
from napari_cellclass.widgets.common.choices.layer_choice import ImageChoice
from napari_cellclass.widgets.common.choices.settings_form import TrainForm
from napari_cellclass.widgets.common.job_panel import JobPanel
from napari_cellclass.widgets.common.layout import labelled, row_of
from napari_cellclass.widgets.prepare import work

if TYPE_CHECKING:
    from napari.viewer import Viewer

_CUT = ("tile_px", "tiles", "overlap", "edge")
_KEEP = ("background", "background_limit")
_WRITE = ("rotate", "class_name", "prefix", "format", "force")


class FieldChoice(QWidget):
    """The files of image layers, or the images of a folder."""

    changed = Signal()

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.from_layers, self.from_folder = QRadioButton("image layers"), QRadioButton("folder")
        self.from_layers.setToolTip("the files of images that are open in this window")
        self.from_folder.setToolTip("every image of a folder, with those of its sub-folders as classes")
        self.layers = ImageChoice(viewer)
        self.layers.setToolTip("tick the image layers whose files are cut")
        self.folder = FileEdit(mode="d", tooltip="a folder of images, or one with a sub-folder per class")
        buttons = QButtonGroup(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for radio, widget in ((self.from_layers, self.layers), (self.from_folder, self.folder.native)):
            buttons.addButton(radio)
            column.addWidget(radio)
            column.addWidget(widget)
        (self.from_layers if self.layers.count() else self.from_folder).setChecked(True)
        self.from_layers.toggled.connect(self._chosen)
        self.folder.changed.connect(lambda _: self.changed.emit())
        self.layers.itemChanged.connect(lambda _: self.changed.emit())
        self._chosen()

    def _chosen(self) -> None:
        self.layers.setVisible(self.from_layers.isChecked())
        self.folder.native.setVisible(self.from_folder.isChecked())
        self.changed.emit()

    def images(self) -> list[Path]:
        """Give the files, or the folder.

        Raises
        ------
        ParamsError
            Nothing is chosen, or a layer belongs to no file.
        """
        if self.from_folder.isChecked():
            text = str(self.folder.line_edit.value).strip()
            if text in ("", "."):
                raise ParamsError("no folder is chosen; choose a folder of images, or one with a sub-folder per class")
            return [Path(text)]
        layers = self.layers.chosen()
        if not layers:
            raise ParamsError("no image layer is ticked; tick one, or choose a folder")
        for layer in layers:
            if not layer.source.path:
                raise ParamsError(
                    f"the layer {layer.name!r} belongs to no file; save it with File > Save Selected Layers and open "
                    "that file"
                )
        return [Path(path) for path in dict.fromkeys(layer.source.path for layer in layers)]

    def first_layer(self) -> Any:
        """Give the layer of the first image, or None for a folder."""
        chosen = self.layers.chosen()
        return chosen[0] if self.from_layers.isChecked() and chosen else None


class SlicePage(QWidget):
    """Cut fields into files of tiles.

    ``written`` is sent with the folder that tiles were written to.
    """

    written = Signal(object)

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._preview: work.SlicePreview | None = None
        self._field: tuple[Path, Sequence[Any], FieldLayer] | None = None
        self._map = BackgroundLayers(viewer)
        self.source = FieldChoice(viewer)
        self.cut, self.keep, self.write = (TrainForm(names, SliceParams) for names in (_CUT, _KEEP, _WRITE))
        self.cut.fields["tile_px"].value = 128
        self.write.fields["rotate"].native.setPlaceholderText("none; -5:5 for ten copies")
        self.write.fields["class_name"].native.setPlaceholderText("of the sub-folder, or none")
        self.write.fields["prefix"].native.setPlaceholderText("the class, or the image's name")
        self.out = FileEdit(mode="d", tooltip="folder for the tiles and their list, tiles.csv")
        self.out.line_edit.value = ""
        self.preview_button, self.slice_button = QPushButton("Preview"), QPushButton("Slice")
        self.preview_button.setToolTip("show the tiles over the first image; those to be dropped are darkened")
        self.panel = JobPanel([self.preview_button, self.slice_button])
        column = QVBoxLayout(self)
        for widget in (self.source, self.cut, self.keep, self.write):
            column.addWidget(widget)
        column.addLayout(labelled(("tiles go to", self.out.native)))
        column.addLayout(row_of(self.preview_button, self.slice_button))
        column.addWidget(self.panel)
        column.addStretch(1)
        self.preview_button.clicked.connect(self.preview)
        self.slice_button.clicked.connect(self.slice)
        self.panel.show_message("Choose images and a folder for the tiles, look at them with Preview, and press Slice.")
        self._follow_settings()

    def _follow_settings(self) -> None:
        limit = self.keep.fields["background_limit"]
        limit.field.changed.connect(lambda _: self._show_kept())
        limit.tick.toggled.connect(lambda _: self._show_kept())
        # Another rule or other tiles need other scores: the preview is computed again.
        for form, names in ((self.cut, _CUT), (self.keep, ("background",))):
            for name in names:
                field = getattr(form.fields[name], "field", form.fields[name])
                field.changed.connect(lambda _: self._preview_again())
                if hasattr(form.fields[name], "tick"):
                    form.fields[name].tick.toggled.connect(lambda _: self._preview_again())
        self.source.changed.connect(self._remove_preview)

    # -- request ---------------------------------------------------------------------------------

    def _params(self, out: Path) -> SliceParams:
        values = self.cut.values() | self.keep.values() | self.write.values()
        if values["background"] == "none":
            values["background_limit"] = None
        params: SliceParams = SliceParams.checked(images=self.source.images(), out=out, **values)
        return params

    def slice(self) -> None:
        """Write the tiles."""
        try:
            text = str(self.out.line_edit.value).strip()
            if text in ("", "."):
                raise ParamsError("no folder for the tiles is chosen; choose one at 'tiles go to'")
            params = self._params(Path(text))
        except CellClassError as error:
            self.panel.failed(error)
            return
        self.panel.run(slice_images, self._sliced, params=params)

    def _sliced(self, report: SliceReport) -> None:
        text = ("Cancelled: " if report.cancelled else "") + report.summary()
        failed = [outcome.error for outcome in report.failed]
        self.panel.show_message("\n".join([f"{text[:1].upper()}{text[1:]}.", *failed]), warn=bool(failed))
        self.written.emit(report.out)

    # -- preview ---------------------------------------------------------------------------------

    def preview(self) -> None:
        """Show the tiles of the first image, and which would be dropped as background."""
        try:
            params = self._params(Path("tiles"))
            path = work.first_image(params.images[0])
        except CellClassError as error:
            self.panel.failed(error)
            return
        layer = self.source.first_layer()
        if layer is not None:
            self._field = (path, [unwrap(layer)], FieldLayer.of(layer))
        elif self._field is not None and (self._field[0] != path or not self._shown()):
            self._field = None
        self.panel.run(work.preview, self._previewed, params=params, shown=self._field is not None)

    def _shown(self) -> bool:
        assert self._field is not None
        there = [unwrap(layer) for layer in self._viewer.layers]
        return all(any(layer is one for one in there) for layer in self._field[1])

    def _previewed(self, preview: work.SlicePreview) -> None:
        if preview.picture is not None:
            layers, field_layer = add_field_layers(
                self._viewer, preview.source, preview.picture.pixels, preview.picture.step
            )
            assert preview.source.path is not None
            self._field = (preview.source.path, [unwrap(layer) for layer in layers], field_layer)
        if self._field is None:
            return  # other images have been chosen since
        self._preview = preview
        self._map.show(preview.grid, self._kept(), self._field[2])
        self._report_kept()

    def _kept(self) -> Any:
        assert self._preview is not None
        values = self.keep.values()
        return foreground_tiles(self._preview.scores, values["background"], values["background_limit"])

    def _show_kept(self) -> None:
        """Apply the limit at once: the scores of the tiles stay."""
        if self._preview is not None and self._map.is_in_viewer():
            self._map.update(self._preview.grid, self._kept())
            self._report_kept()

    def _report_kept(self) -> None:
        assert self._preview is not None
        kept, values = self._kept(), self.keep.values()
        name, total, dropped = self._preview.source.name, len(kept), int((~kept).sum())
        if values["background"] == "none":
            self.panel.show_message(f"{name}: {counted(total, 'tile')}; no background rule is chosen, so all are kept.")
            return
        limit = values["background_limit"]
        limit = default_limit(self._preview.scores, values["background"]) if limit is None else limit
        self.panel.show_message(
            f"{name}: {dropped:,} of {counted(total, 'tile is', 'tiles are')} dropped as background "
            f"({values['background']} below {limit:.3g}), {total - dropped:,} are kept."
        )

    def _preview_again(self) -> None:
        if self._preview is not None and self._map.is_in_viewer() and not self.panel.running:
            self.preview()

    def _remove_preview(self) -> None:
        self._preview = None
        self._map.remove()

    def close_down(self) -> None:
        """End the running job, and remove the map."""
        self.panel.close_down()
        self._remove_preview()
