"""Errors whose text is written for users."""

from __future__ import annotations

_CONTROLS = {number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160))}


def shown(text: str) -> str:
    """Write control characters as escapes: a name in somebody's file must not steer a user's terminal."""
    return text.translate(_CONTROLS)


class CellClassError(Exception):
    """Something a user can mend; its text is one line: what, the value, what to do.

    Only these reach a user as text. Any other exception is a defect of the program.
    """

    def __init__(self, message: str) -> None:
        super().__init__(shown(" ".join(str(message).split())))


class ImageError(CellClassError):
    """An image cannot be read, or not as asked."""


class GridError(CellClassError):
    """A tile grid cannot be laid over an image."""


class DatasetError(CellClassError):
    """A folder of classes cannot be trained on or evaluated."""


class ModelError(CellClassError):
    """A model file is missing, damaged, refused, or does not fit the image."""


class ParamsError(CellClassError):
    """A setting is outside what it may be."""


class OutputError(CellClassError):
    """A result cannot be written."""


class EngineError(CellClassError):
    """A child process that trains or predicts has failed."""


class CancelledError(CellClassError):
    """The user cancelled; what was finished is kept by whoever raised this."""


MALFORMED_JSON = (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError)
"""What reading the parts of damaged JSON raises."""
