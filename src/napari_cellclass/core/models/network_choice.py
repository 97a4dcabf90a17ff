"""What the network ``auto`` became for a model, why, and how each part does on tiles that were held out."""

from __future__ import annotations

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.models.bundle import Manifest
from napari_cellclass.core.models.head_record import HeadRecord
from napari_cellclass.core.models.texture_decision import TextureHead

REASON = "network_reason"
"""Name of the reason in a manifest's record of training; absent where the user named the network."""


def describe_choice(manifest: Manifest) -> str:
    """Describe in a sentence what the network ``auto`` became, and why; empty where the network was named."""
    reason = manifest.training.get(REASON)
    if not isinstance(reason, str):
        return ""
    head = HeadRecord.of(manifest.training)
    return f"auto, {_of_network(reason, manifest) if head is None else _of_head(reason, head)}."


def _of_head(reason: str, head: HeadRecord) -> str:
    """Describe linear models on features, and the network beside them if one was trained."""
    if head.network is None:
        name = "pretrained alone"
    elif head.network.joined:
        name, reason = "pretrained joined with compact", f"{reason}, and held-out tiles support compact beside it"
    else:
        name, reason = "pretrained alone", f"{reason}, and held-out tiles do not support compact beside it"
    parts = ", ".join(f"{part} {value:.3f}" for part, value in head.accuracies.items())
    parts += f", together {head.accuracy:.3f}" if len(head.accuracies) > 1 else ""
    text = f"which became {name}, as {reason}; balanced accuracy in {head.held_out}: {parts}"
    network = head.network
    if network is None:
        return f"{text}; compact was not trained beside it, which --with-compact does"
    return (
        f"{text}; on {counted(network.tiles, 'tile')} that no part has seen: pretrained "
        f"{network.accuracy_without:.3f}, compact {network.accuracy_network:.3f}, both joined "
        f"{network.accuracy_both:.3f}"
    )


def _of_network(reason: str, manifest: Manifest) -> str:
    """Describe a network that was trained in epochs."""
    text = f"which became {manifest.network}, as {reason}"
    accuracy = manifest.scores.get("balanced_accuracy")
    value = accuracy.get("value") if isinstance(accuracy, dict) else None
    tiles = manifest.data.get("n_validation")
    if not isinstance(value, float) or not isinstance(tiles, int):
        return text
    text += f"; balanced accuracy on {counted(tiles, 'tile')} of held-out groups: {manifest.network} {value:.3f}"
    texture = TextureHead.of(manifest.training)
    if texture is not None and texture.joined and texture.accuracy_both is not None:
        text += f", without the texture features that joined it {texture.accuracy_network:.3f}"
    return f"{text}; pretrained was not fitted"
