"""Errors whose text is written for users."""

from __future__ import annotations

_CONTROLS = {number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160))}


def escape_controls(text: str) -> str:
    """Write control characters as escapes, so that a name in a file cannot control a user's terminal."""
    return text.translate(_CONTROLS)


class CellClassError(Exception):
    """An error that a user can correct; its text is one line: what is wrong, the value, what to do.

    Only these are shown to users as text. Any other exception is a defect of the program.
    """

    def __init__(self, message: str) -> None:
        super().__init__(escape_controls(" ".join(str(message).split())))


class ImageError(CellClassError):
    """An image cannot be read, or not as asked."""


class GridError(CellClassError):
    """A tile grid cannot be laid over an image."""


class DatasetError(CellClassError):
    """A folder of classes cannot be trained on or evaluated."""


class ModelError(CellClassError):
    """A model file is missing, damaged or refused, or does not match the image."""


class ParamsError(CellClassError):
    """A parameter has a value that is not allowed."""


class OutputError(CellClassError):
    """A result cannot be written."""


class EngineError(CellClassError):
    """A child process that trains or predicts has failed."""


class CancelledError(CellClassError):
    """The user cancelled; what was finished is kept."""


MALFORMED_JSON = (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError)
"""What reading the parts of damaged JSON raises."""
