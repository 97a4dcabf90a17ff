from __future__ import annotations

from typing import Any

from napari_cellclass.core.models.bundle import Manifest
from napari_cellclass.core.models.head_record import HeadRecord, NetworkMix
from napari_cellclass.core.models.network_choice import REASON, describe_choice
from napari_cellclass.core.models.texture_decision import TextureHead
from napari_cellclass.core.tiles.preprocess import PreprocessSpec

HEAD = HeadRecord(
    held_out_by="group", tiles=40, groups=8, penalties={"backbone": 0.1, "texture": 1.0},
    accuracies={"backbone": 0.9, "texture": 0.8}, accuracy=0.95,
)  # fmt: skip
MIX = NetworkMix(
    joined=True, gain=3.0, tiles=12, accuracy_without=0.75, accuracy_network=0.7, accuracy_both=0.875
)  # fmt: skip
TEXTURE = TextureHead(
    joined=True, why="few tiles", tiles=10, groups=2, loss_network=0.5, loss_both=0.4, accuracy_network=0.6,
    accuracy_both=0.7,
)  # fmt: skip


def told(network: str = "pretrained", scores: dict[str, Any] | None = None, **training: Any) -> str:
    """Describe a manifest of such a training."""
    spec = PreprocessSpec(input_px=(32, 32), channels=1)
    manifest = Manifest(
        program="napari-cellclass", created="now", classes=[], preprocess=spec, tile_px=(32, 32), network=network,
        parameters=1, training=training, data={"n_validation": 10}, scores=scores or {},
    )  # fmt: skip
    return describe_choice(manifest)


def test_a_network_that_the_user_named_needs_no_sentence() -> None:
    assert told(head=HEAD.model_dump()) == ""
    assert told(head=HEAD.model_dump(), **{REASON: 3}) == ""


def test_linear_models_are_told_of_with_each_part_and_what_was_not_tried() -> None:
    assert told(head=HEAD.model_dump(), **{REASON: "its weights are installed"}) == (
        "auto, which became pretrained alone, as its weights are installed; balanced accuracy in "
        "leave-one-group-out cross-validation over 8 groups: backbone 0.900, texture 0.800, together 0.950; compact "
        "was not trained beside it, which --with-compact does."
    )


def test_a_network_beside_them_is_told_of_with_its_figures_whether_or_not_it_joined() -> None:
    for joined, name, verb in ((True, "joined with compact", "support"), (False, "alone", "do not support")):
        head = HEAD.model_copy(update={"network": MIX.model_copy(update={"joined": joined})})
        text = told(head=head.model_dump(), **{REASON: "its weights are installed"})
        assert text.startswith(f"auto, which became pretrained {name}, as its weights are installed, and held-out")
        assert f"held-out tiles {verb} compact beside it" in text
        assert text.endswith("on 12 tiles that no part has seen: pretrained 0.750, compact 0.700, both joined 0.875.")


def test_a_network_in_its_place_is_told_of_with_the_reason_and_its_figure() -> None:
    scores = {"balanced_accuracy": {"value": 0.7, "lo": None, "hi": None}}
    text = told("compact", scores, texture_head=TEXTURE.model_dump(), **{REASON: "--epochs 5 is for networks"})
    assert text == (
        "auto, which became compact, as --epochs 5 is for networks; balanced accuracy on 10 tiles of held-out groups: "
        "compact 0.700, without the texture features that joined it 0.600; pretrained was not fitted."
    )


def test_a_record_without_figures_still_gives_the_reason() -> None:
    assert told("compact", {"balanced_accuracy": 1}, **{REASON: "so"}) == "auto, which became compact, as so."
