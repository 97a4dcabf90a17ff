"""A line under the chosen image layers: their channels, or a question where these are unclear."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.findings import counted
from napari_cellclass.viewer.common.channels import (
    ChannelQuestion,
    channel_question,
    describe_layers,
    forget_answers,
    has_answers,
)
from napari_cellclass.viewer.common.layers import image_from_layers
from napari_cellclass.widgets.common.choices.layer_choice import ImageChoice
from napari_cellclass.widgets.common.text import WrappedLabel

_SHORT = 10  # letters that fit beside the list of layers


class ChannelLine(QWidget):
    """Shows the channels of the ticked layers; asks once whether an axis, or several layers, are channels.

    ``answered`` is sent when a user has answered. What takes a word or two, such as ``RGB``, is in ``brief``, which the
    owner lays beside the list of layers.

    Parameters
    ----------
    images
        Where the layers are ticked.
    """

    answered = Signal()

    def __init__(self, images: ImageChoice) -> None:
        super().__init__()
        self._images = images
        self._listened: list[Any] = []
        self._expected: int | None = None
        self.question: ChannelQuestion | None = None
        self.text, self.brief = WrappedLabel(selectable=False), QLabel()
        self.buttons = (QPushButton(), QPushButton())
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.text)
        row = QHBoxLayout()
        for number, button in enumerate(self.buttons):
            row.addWidget(button)
            button.clicked.connect(lambda _, number=number: self._answer(number))
        self.again = QPushButton("ask again")
        self.again.setToolTip("change what was answered about these layers")
        row.addWidget(self.again)
        self.again.clicked.connect(lambda: forget_answers(self._images.chosen()))
        column.addLayout(row)
        images.itemChanged.connect(lambda _: self.refresh())
        images.refreshed.connect(self.refresh)
        self.refresh()

    def expect(self, channels: int | None) -> None:
        """Say where a model takes another number of channels; None for no model."""
        self._expected = channels
        self.refresh()

    def refresh(self, event: Any = None) -> None:
        """Look at the ticked layers again."""
        layers = self._images.chosen()
        self._listen(layers)
        self.question = channel_question(layers)
        if self.question is not None:
            text, warn = self.question.text, True
            for button, choice in zip(self.buttons, self.question.choices, strict=True):
                button.setText(choice)
        else:
            text, warn = self._described(layers)
        self.text.show_text(text, warn)
        short = len(text) <= _SHORT and not warn
        self.brief.setText(text if short else "")
        self.brief.setVisible(short and bool(text))
        self.text.setVisible(bool(text) and not short)
        for button in self.buttons:
            button.setVisible(self.question is not None)
        self.again.setVisible(self.question is None and has_answers(layers))

    def _described(self, layers: list[Any]) -> tuple[str, bool]:
        text = describe_layers(layers)
        if not text or self._expected is None:
            return text, False
        channels = image_from_layers(layers).channels
        if channels == self._expected:
            return text, False
        return f"{text}; the model takes {counted(self._expected, 'channel')}", True

    def _answer(self, number: int) -> None:
        if self.question is not None:
            question = self.question
            question.answer(question.choices[number])  # the layers tell all who show them
            self.answered.emit()

    def _listen(self, layers: list[Any]) -> None:
        """Follow answers that are given elsewhere, and axes that are labelled, of the ticked layers alone."""
        for layer in self._listened:
            for event in self._events(layer):
                event.disconnect(self.refresh)
        self._listened = layers
        for layer in layers:
            for event in self._events(layer):
                event.connect(self.refresh)

    @staticmethod
    def _events(layer: Any) -> tuple[Any, ...]:
        events = layer.events
        return events.metadata, events.axis_labels, events.name, events.data, events.scale
