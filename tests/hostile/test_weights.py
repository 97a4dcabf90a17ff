"""Networks are looked at before Keras loads them."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.models.bundle import open_bundle, write_bundle
from napari_cellclass.engine.networks import loading
from napari_cellclass.engine.networks.weights_check import check_weights

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """The makers of hostile models."""
    sys.path.insert(0, str(HERE))
    try:
        return runpy.run_path(str(HERE / "job_files.py"))
    finally:
        sys.path.remove(str(HERE))


def test_weights_that_lead_elsewhere_or_claim_too_much_are_refused(tmp_path: Path, made: dict[str, Any]) -> None:
    path = tmp_path / "m.keras"
    path.write_bytes(made["keras_file"]())
    check_weights(path)
    enemies = made["enemy_weights"]()
    assert len(enemies) > 5
    for content in enemies:
        path.write_bytes(made["keras_file"](stored=content))
        with pytest.raises(ModelError, match=r"m\.keras is refused: its weights"):
            check_weights(path)


def test_a_network_inside_a_model_is_checked_before_keras_sees_it(
    tmp_path: Path, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Keras:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError("Keras was asked to load it")

    monkeypatch.setattr(loading, "import_keras", Keras)
    good = open_bundle(made["good_bundle"](tmp_path))
    parts = {name: good.member(name) for name in good.manifest.files}
    layers = [made["keras_file"](layer) for layer in made["ENEMY_LAYERS"]]
    weights = [made["keras_file"](stored=stored) for stored in made["enemy_weights"]()]
    for content in layers + weights:
        bundle = write_bundle(tmp_path / "evil.cellclass", good.manifest, parts | {"model.keras": content})
        with pytest.raises(ModelError, match=r"evil\.cellclass is refused"):
            loading.load_network(bundle)
