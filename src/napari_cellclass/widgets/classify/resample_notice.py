"""The notice that field and model differ in pixel size, with the button that does something about it."""

from __future__ import annotations

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.tiles.resampling import Size, pixel_sizes_differ
from napari_cellclass.widgets.common.text import WrappedLabel


class ResampleNotice(QWidget):
    """Shown where pixel sizes differ by more than 10 %; nothing is rescaled unless its button is down."""

    def __init__(self) -> None:
        super().__init__()
        self.notice = WrappedLabel()
        self.notice.set_warning(True)
        self.button = QPushButton("Rescale to the model's pixel size")
        self.button.setCheckable(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.notice)
        column.addWidget(self.button)
        self._sizes: tuple[Size | None, Size | None] = (None, None)
        self.button.toggled.connect(lambda _: self._update_text())
        self.setVisible(False)

    @property
    def wanted(self) -> bool:
        """Whether tiles are to be resampled to the model's pixel size."""
        return self.button.isChecked() and pixel_sizes_differ(*self._sizes)

    def compare(self, trained_um: Size | None, here_um: Size | None) -> None:
        """Compare the pixel sizes (y, x) in µm of the training images and of the field."""
        if (trained_um, here_um) != self._sizes:
            self.button.setChecked(False)  # a choice for another field does not hold here
        self._sizes = (trained_um, here_um)
        self._update_text()
        self.setVisible(pixel_sizes_differ(trained_um, here_um))

    def _update_text(self) -> None:
        trained, here = self._sizes
        if trained is None or here is None:
            return
        text = f"Pixels are {here[0]:.3g} µm, but the model was trained on {trained[0]:.3g} µm"
        done = (
            "tiles are cut to cover the same area in µm as those of the model."
            if self.wanted
            else "its predictions may be wrong."
        )
        self.notice.setText(f"{text}: {done}")
