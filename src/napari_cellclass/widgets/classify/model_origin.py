"""The line under a chosen model: its origin as written in it, and whether it is new on this machine."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel

from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.models.known_models import KnownModels, describe_origin

# Dark on amber, readable in napari's light and dark themes.
_NEW = "background: #F0C36D; color: #202020; padding: 3px; border-radius: 3px;"


def show_origin(label: QLabel, model: ModelBundle) -> None:
    """Show a model's origin, and mark a model that was neither trained nor used here before."""
    known = KnownModels().knows(model)
    text = describe_origin(model, with_hash=not known)  # else it is in the tooltip
    label.setText(text if known else f"New on this machine: {text}. Do you know who made it?")
    label.setStyleSheet("" if known else _NEW)
    label.setToolTip(f"SHA-256 {model.sha256}")
    label.setVisible(True)
