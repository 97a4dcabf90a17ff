"""Linear models on features as numbers in a model's file, in the place of a Keras network that is made of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.models.linear_head import LinearHead, Standardisation
from napari_cellclass.core.models.npz import read_npz

MEMBER = "linear_head.npz"


@dataclass(frozen=True, eq=False)
class StoredHead:
    """Linear models on sets of features, each with its standardisation.

    Attributes
    ----------
    scaling
        By feature set: how its features are standardised.
    head
        The linear models on them; every class is known.
    """

    scaling: tuple[Standardisation, ...]
    head: LinearHead

    def predict(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (n, K) for standardised features (n, F) of all sets, one set after the other."""
        ends = np.cumsum([len(scaled.mean) for scaled in self.scaling])
        return self.head.predict(np.split(z, ends[:-1], axis=1))

    def to_bytes(self) -> bytes:
        """Return the content of the member, an npz archive."""
        content = io.BytesIO()
        arrays: dict[str, NDArray[np.floating]] = {"temperature": np.array(self.head.temperature, np.float64)}
        parts = zip(self.scaling, self.head.weights, self.head.intercepts, strict=True)
        for number, (scaled, weights, intercepts) in enumerate(parts):
            values = {"mean": scaled.mean, "scale": scaled.scale, "weights": weights, "intercepts": intercepts}
            arrays |= {f"{name}_{number}": value for name, value in values.items()}
        np.savez_compressed(content, allow_pickle=False, **arrays)
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, most_bytes: int, columns: Sequence[int], classes: int) -> StoredHead:
        """Read what :meth:`to_bytes` gave; the content may be anybody's.

        Parameters
        ----------
        content
            The archive.
        most_bytes
            How large it may be, unpacked.
        columns
            Number of features of each set; the last sets may be missing.
        classes
            Number K of the model's classes.

        Raises
        ------
        ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error
            It is damaged; with ``ValueError``, in a few words why.
        """
        found = read_npz(content, most_bytes)
        sets = [n for number, n in enumerate(columns) if f"weights_{number}" in found]
        if not sets:
            raise ValueError("they have no weights")
        parts: dict[str, list[NDArray[np.float32]]] = {}
        for number, n in enumerate(sets):
            for name, shape in (("mean", (n,)), ("scale", (n,)), ("weights", (n, classes)), ("intercepts", (classes,))):
                array = found[f"{name}_{number}"]
                if array.dtype != np.float32 or array.shape != shape:
                    raise ValueError(f"{name} of shape {array.shape} and type {array.dtype} do not fit the model")
                # The scale of a feature that does not vary is infinite.
                if not (array > 0).all() if name == "scale" else not np.isfinite(array).all():
                    raise ValueError(f"a number of {name} is not possible")
                parts.setdefault(name, []).append(array)
        temperature = found["temperature"]
        if temperature.shape != () or temperature.dtype != np.float64 or not 0 < float(temperature) < np.inf:
            raise ValueError("the temperature is not possible")
        return cls(
            tuple(Standardisation(*each) for each in zip(parts["mean"], parts["scale"], strict=True)),
            LinearHead(
                tuple(parts["weights"]), tuple(parts["intercepts"]), float(temperature), np.ones(classes, np.bool_)
            ),
        )
