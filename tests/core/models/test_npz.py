"""Arrays of an archive: read as they are, or refused before they are unpacked."""

from __future__ import annotations

import io

import numpy as np
import pytest

from napari_cellclass.core.models.npz import read_npz


def archive(**arrays: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def test_arrays_come_back_by_their_names() -> None:
    found = read_npz(archive(a=np.arange(3), b=np.eye(2)), 10_000)
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["b"], np.eye(2))


def test_what_would_be_too_large_is_not_unpacked() -> None:
    with pytest.raises(ValueError, match="they claim"):
        read_npz(archive(a=np.zeros(1_000_000)), 10_000)


def test_pickled_objects_are_refused() -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        read_npz(archive(a=np.array([{}], object)), 10_000)
