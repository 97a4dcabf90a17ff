from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.labels.classes import ClassScheme, palette


@given(st.integers(2, 60))
def test_colours_are_all_different(n: int) -> None:
    assert len(set(palette(n))) == n


def test_a_scheme_survives_json() -> None:
    scheme = ClassScheme(("b", "a", "c"))
    assert ClassScheme.from_json(scheme.to_json()) == scheme
    assert scheme.names == ("b", "a", "c")
    assert scheme.keys == ("1", "2", "3")


@pytest.mark.parametrize(
    ("names", "text"), [(("a",), "at least two"), (("a", " "), "empty name"), (("a", "a"), "twice")]
)
def test_an_impossible_scheme_says_why(names: tuple[str, ...], text: str) -> None:
    with pytest.raises(ParamsError, match=text):
        ClassScheme(names)
