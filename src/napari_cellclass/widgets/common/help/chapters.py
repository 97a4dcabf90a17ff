"""What each page and dock is for, in a sentence, and where the documentation describes it."""

from __future__ import annotations

from dataclasses import dataclass

DOCUMENTATION = "https://napari-cellclass.github.io/napari-cellclass/"
"""Address of the documentation, as ``Documentation`` in ``pyproject.toml``."""


@dataclass(frozen=True)
class Chapter:
    """A chapter of the documentation.

    Parameters
    ----------
    title
        Its title.
    sentence
        What the page or dock that it describes is for.
    page
        Path of the page in ``docs``, without its ending.
    """

    title: str
    sentence: str
    page: str

    @property
    def url(self) -> str:
        """The address of the chapter."""
        return f"{DOCUMENTATION}{self.page}/"


CHAPTERS = {
    "Annotate tiles": Chapter(
        "Label and train live",
        "Give tiles a class by its key or with the brush; the live map predicts the rest of the field at every label.",
        "tutorials/label-and-train-live",
    ),
    "Train": Chapter(
        "Train on class folders",
        "Make a model of labelled tiles, tested on groups of images that it was not trained on.",
        "how-to/train",
    ),
    "Classify field": Chapter(
        "Classify a field",
        "Classify every tile of the image with a model, and show the classes as a map.",
        "tutorials/classify-a-field",
    ),
    "Check": Chapter(
        "Find wrong labels",
        "See how many tiles of each class are labelled, how good the newest model is, and where to look closer.",
        "how-to/label-errors",
    ),
    "Prepare tiles": Chapter(
        "Cut, number and rotate tiles",
        "Cut images into files of tiles, number and rotate them, and check a data set before it is trained on.",
        "how-to/slice-and-rename",
    ),
    "Classify plate": Chapter(
        "A plate with conditions",
        "Classify many images with one model, see the wells of the plate, and compare conditions.",
        "tutorials/a-plate",
    ),
    "Evaluate": Chapter(
        "Evaluate a model",
        "Measure how well a model classifies labelled tiles that it was not trained on.",
        "tutorials/evaluate",
    ),
    "Experiment": Chapter(
        "Learned or memorised",
        "Train repeatedly to find out whether the network has learned the classes or memorised the images.",
        "tutorials/learned-or-memorised",
    ),
    "Blinded reading": Chapter(
        "Blinded reading",
        "Classify tiles without knowing ground truth or prediction, and compare yourself with both.",
        "tutorials/blinded-reading",
    ),
    "Scatter": Chapter(
        "Label many tiles in the scatter plot",
        "All tiles as points, those that look alike near each other; draw around some to label them at once.",
        "how-to/scatter",
    ),
}
"""The chapter of each page and dock, by its ``display_name``."""
