"""One training of a network on tiles in memory, as tutorials do it: by Keras's ``fit``, or by PyTorch.

    python benchmarks/_training_child.py keras|torch TILES.npz NETWORK EPOCHS

Prints the seconds of each epoch, validation included, a line each. ``torch`` is run by a Python that has PyTorch.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

BATCH = 16
_COMPACT, _DEEP = (16, 32, 32, 64, 64), (16, 16, 16, 32, 32, 32, 64, 64, 64)


def by_keras(known: dict[str, np.ndarray], name: Any, epochs: int) -> None:
    """Train our own network, built by our own builder, with Keras's ``fit`` on arrays."""
    from napari_cellclass.engine.common.environment import import_keras
    from napari_cellclass.engine.networks.architectures import build_network

    keras = import_keras()
    model = build_network(name, known["train"].shape[1:3], known["train"].shape[3], 2, seed=0)
    model.compile(keras.optimizers.AdamW(1e-3, clipnorm=1.0), "categorical_crossentropy", metrics=["accuracy"])

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, *_: object) -> None:
            self.start = time.perf_counter()

        def on_epoch_end(self, *_: object) -> None:
            print(time.perf_counter() - self.start, flush=True)

    one_hot = {part: np.eye(2, dtype=np.float32)[known[f"{part}_labels"]] for part in ("train", "held")}
    tiles = {part: known[part].astype(np.float32) / 255 for part in ("train", "held")}
    held = (tiles["held"], one_hot["held"])
    model.fit(
        tiles["train"], one_hot["train"], BATCH, epochs, verbose=0, validation_data=held, callbacks=[Clock()]
    )  # fmt: skip


def by_torch(known: dict[str, np.ndarray], name: str, epochs: int) -> None:
    """Train the same network in PyTorch, its memory laid out channels last."""
    import torch
    from torch import nn

    torch.manual_seed(0)

    class Standardise(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x - x.mean((2, 3), keepdim=True)
            return (x / (x.square().mean((2, 3), keepdim=True).sqrt() + 0.002)).clip(-4, 8)

    class Both(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)

    _, height, width, channels = known["train"].shape
    layers: list[nn.Module] = [Standardise()]
    side = min(height, width)
    for number, filters in enumerate(_COMPACT if name == "compact" else _DEEP, 1):
        layers += [nn.Conv2d(channels, filters, 3, padding="same"), nn.ReLU()]
        channels = filters
        if side >= 2 and (name != "compact" or number <= 4):
            layers.append(nn.MaxPool2d(2))
            side //= 2
    if name == "compact":
        layers += [Both(), nn.Linear(2 * channels, 2)]
    else:
        layers += [nn.Flatten(), nn.Linear(channels * side * side, 512), nn.ReLU()]
        layers += [nn.Linear(512, 50), nn.ReLU(), nn.Linear(50, 2)]
    model = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    loss = nn.CrossEntropyLoss()
    tiles = {
        part: (torch.from_numpy(known[part]).permute(0, 3, 1, 2).float() / 255).contiguous(
            memory_format=torch.channels_last
        )
        for part in ("train", "held")
    }
    labels = torch.from_numpy(known["train_labels"])
    for _ in range(epochs):
        start = time.perf_counter()
        model.train()
        for rows in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            loss(model(tiles["train"][rows]), labels[rows]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            for part in tiles["held"].split(32):
                model(part)
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    way, path, network, count = sys.argv[1:]
    with np.load(path) as stored:
        {"keras": by_keras, "torch": by_torch}[way](dict(stored), network, int(count))
