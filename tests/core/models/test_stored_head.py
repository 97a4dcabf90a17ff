"""Linear models in a model's file: they come back as they were, and damaged ones are refused."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from napari_cellclass.core.models.linear_head import LinearHead, Standardisation
from napari_cellclass.core.models.stored_head import StoredHead

COLUMNS, CLASSES, LIMIT = (4, 3), 2, 1 << 20


def head() -> StoredHead:
    rng = np.random.default_rng(0)
    scaling, weights, intercepts = [], [], []
    for n in COLUMNS:
        scale = rng.random(n).astype(np.float32) + 1
        scale[0] = np.inf
        scaling.append(Standardisation(rng.random(n).astype(np.float32), scale))
        weights.append(rng.normal(size=(n, CLASSES)).astype(np.float32))
        intercepts.append(rng.normal(size=CLASSES).astype(np.float32))
    linear = LinearHead(tuple(weights), tuple(intercepts), 1.5, np.ones(CLASSES, np.bool_))
    return StoredHead(tuple(scaling), linear)


def changed(**arrays: Any) -> bytes:
    with np.load(io.BytesIO(head().to_bytes())) as stored:
        content = io.BytesIO()
        np.savez(content, **{**stored, **arrays})
        return content.getvalue()


def test_it_comes_back_as_it_was_with_features_that_do_not_vary() -> None:
    stored, again = head(), StoredHead.from_bytes(head().to_bytes(), LIMIT, COLUMNS, CLASSES)
    z = np.random.default_rng(1).normal(size=(20, sum(COLUMNS))).astype(np.float32)
    np.testing.assert_array_equal(again.predict(z), stored.predict(z))
    parts = np.split(z, [COLUMNS[0]], axis=1)
    for one, other, part in zip(stored.scaling, again.scaling, parts, strict=True):
        np.testing.assert_array_equal(one.apply(part), other.apply(part))


@pytest.mark.parametrize(
    "arrays",
    [
        {"weights_0": np.zeros((4, 3), np.float32)},
        {"weights_1": np.zeros((3, 2), np.float64)},
        {"mean_0": np.array([0, 0, np.nan, 0], np.float32)},
        {"scale_0": np.zeros(4, np.float32)},
        {"scale_1": np.array([1, np.nan, 1], np.float32)},
        {"temperature": np.array(0.0)},
        {"temperature": np.array([1.0])},
        {"intercepts_0": np.array([object()] * 2)},
    ],
)
def test_what_does_not_fit_the_model_is_refused(arrays: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"fit|possible|pickle"):
        StoredHead.from_bytes(changed(**arrays), LIMIT, COLUMNS, CLASSES)


def test_more_bytes_than_are_allowed_are_not_unpacked() -> None:
    with pytest.raises(ValueError, match="more than 10"):
        StoredHead.from_bytes(head().to_bytes(), 10, COLUMNS, CLASSES)
