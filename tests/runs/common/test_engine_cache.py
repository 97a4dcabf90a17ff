"""The engine cache: one engine is open at a time, and none is closed while it is used."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

import pytest

from napari_cellclass.runs.common import engine_cache
from napari_cellclass.runs.common.engine_cache import EngineCache, EngineKey

A, B = EngineKey("a"), EngineKey("b")


class FakeEngine:
    """Knows whether it is open; all that were made are in ``made``."""

    made: ClassVar[list[FakeEngine]] = []

    def __init__(self, model: Any, *how: Any) -> None:
        self.model, self.open = model, True
        self.made.append(self)

    def close(self) -> None:
        assert self.open, "closed twice"
        self.open = False


@pytest.fixture(autouse=True)
def made(monkeypatch: Any) -> list[FakeEngine]:
    monkeypatch.setattr(FakeEngine, "made", [])
    monkeypatch.setattr(engine_cache, "open_engine", FakeEngine)
    return FakeEngine.made


def test_the_next_field_of_a_model_finds_its_engine_open(made: list[Any]) -> None:
    cache = EngineCache()
    cache.prepare(A, lambda: "a")
    for _ in range(2):
        with cache.use(A, lambda: "a") as (model, engine):
            assert (model, engine) == ("a", made[0])
    assert [one.open for one in made] == [True]
    cache.close()
    assert [one.open for one in made] == [False]


def test_another_model_takes_the_place_of_one_that_is_closed_after_its_last_use(made: list[Any]) -> None:
    cache = EngineCache()
    with cache.use(A, lambda: "a"):
        with cache.use(A, lambda: "a"), cache.use(B, lambda: "b"):
            assert [one.open for one in made] == [True, True]
        assert [one.open for one in made] == [True, True], "its first user is not ready"
    assert [one.open for one in made] == [False, True]


def test_an_engine_in_use_is_not_replaced_by_one_that_is_only_prepared(made: list[Any]) -> None:
    cache = EngineCache()
    with cache.use(A, lambda: "a"):
        cache.prepare(B, lambda: "b")
    assert [one.model for one in made] == ["a"]


def test_a_cache_that_is_closed_during_a_use_closes_the_engine_after_it(made: list[Any]) -> None:
    cache = EngineCache()
    with cache.use(A, lambda: "a"):
        cache.close()
        assert made[0].open
    assert not made[0].open
    cache.prepare(A, lambda: "a")
    assert len(made) == 1, "a closed cache prepares nothing"


def test_closing_does_not_wait_for_an_engine_that_is_being_opened(made: list[Any]) -> None:
    cache, opening, go_on = EngineCache(), threading.Event(), threading.Event()

    def load() -> str:
        opening.set()
        assert go_on.wait(60)
        return "a"

    thread = threading.Thread(target=cache.prepare, args=(A, load))
    thread.start()
    assert opening.wait(60)
    cache.close()
    go_on.set()
    thread.join(60)
    assert [one.open for one in made] == [False], "whoever opened it closes it"


def test_a_model_that_cannot_be_opened_leaves_the_cache_usable(made: list[Any]) -> None:
    cache = EngineCache()

    def fail() -> str:
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"), cache.use(A, fail):
        pass
    with cache.use(A, lambda: "a") as (model, _):
        assert model == "a"
