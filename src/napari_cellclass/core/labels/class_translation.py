"""Labels with classes of their own become labels of an annotation: matched by name, missing classes added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.labels.annotation import Annotation


def add_missing_classes(annotation: Annotation, names: Sequence[str], colours: Mapping[str, str] | None = None) -> None:
    """Add the classes that an annotation does not have yet, in these colours or free ones.

    Raises
    ------
    ParamsError, OutputError
        See :meth:`Annotation.add_class`.
    """
    for name in names:
        if name not in annotation.scheme.names:
            annotation.add_class(name, (colours or {}).get(name))


def translate_labels(
    annotation: Annotation,
    labels: NDArray[np.integer[Any]],
    names: Sequence[str],
    colours: Mapping[str, str] | None = None,
) -> NDArray[np.int64]:
    """Give labels of other classes as labels of an annotation, which gets the classes that it lacks.

    Parameters
    ----------
    annotation
        Whose classes the result counts in.
    labels
        (n,) indices into ``names``, or negative labels, which stay.
    names, colours
        The other classes; colours by name.

    Returns
    -------
    ndarray of int64, shape (n,)

    Raises
    ------
    ParamsError, OutputError
        See :func:`add_missing_classes`.
    """
    add_missing_classes(annotation, names, colours)
    ours = np.array([annotation.scheme.index(name) for name in names] or [0])
    return np.where(labels >= 0, ours[np.maximum(labels, 0)], labels).astype(np.int64)
