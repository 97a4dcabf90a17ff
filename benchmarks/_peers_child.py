"""Other programs' ways of classifying a field, in their own environment: TIAToolbox and WSInfer.

    python benchmarks/_peers_child.py tiatoolbox|wsinfer FIELD FOLDER

Answers each line read from standard input with a line: the seconds of one whole classification. The network is that of
``deep-50``, untrained. This file is run by a Python that has these programs, not by ours.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

_TILE_PX, _SIDE, _CLASSES = 256, 8192, 2
_FILTERS = (16, 16, 16, 32, 32, 32, 64, 64, 64)
_BATCH = 32


def deep_50(logits: bool) -> nn.Module:
    """Make the network; 179 608 parameters."""
    layers: list[nn.Module] = []
    channels, side = 3, _TILE_PX
    for filters in _FILTERS:
        layers += [nn.Conv2d(channels, filters, 3, padding="same"), nn.ReLU()]
        channels = filters
        if side >= 2:
            layers.append(nn.MaxPool2d(2))
            side //= 2
    layers += [nn.Flatten(), nn.Linear(channels * side * side, 512), nn.ReLU(), nn.Linear(512, 50), nn.ReLU()]
    layers.append(nn.Linear(50, _CLASSES))
    return nn.Sequential(*layers) if logits else nn.Sequential(*layers, nn.Softmax(dim=1))


def tiatoolbox(field: Path, folder: Path) -> Callable[[], None]:
    """Make what classifies a field with TIAToolbox's PatchPredictor."""
    from tiatoolbox.models.engine.patch_predictor import PatchPredictor
    from tiatoolbox.models.models_abc import ModelABC

    class Network(ModelABC):
        def __init__(self) -> None:
            super().__init__()
            self.network = deep_50(logits=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.network(x)

        @staticmethod
        def infer_batch(model: nn.Module, batch_data: torch.Tensor, *, device: str) -> np.ndarray:
            x = torch.as_tensor(np.asarray(batch_data)).to(device).permute(0, 3, 1, 2).float() / 255
            with torch.inference_mode():
                return model(x).cpu().numpy()

    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("tiatoolbox").setLevel(logging.ERROR)
    predictor = PatchPredictor(model=Network().eval(), batch_size=_BATCH, num_workers=0, device="cpu", verbose=False)
    here = [{"units": "baseline", "resolution": 1.0}]

    def run() -> None:
        predictor.run(
            images=[field], patch_mode=False, save_dir=folder / "tiatoolbox", overwrite=True, output_type="zarr",
            input_resolutions=here, patch_input_shape=(_TILE_PX, _TILE_PX), stride_shape=(_TILE_PX, _TILE_PX),
            auto_get_mask=False, return_probabilities=True,
            wsireader_kwargs={"mpp": (0.5, 0.5), "power": 20},
        )  # fmt: skip

    return run


def wsinfer(field: Path, folder: Path) -> Callable[[], None]:
    """Make what classifies a field with WSInfer's ``run_inference``; its list of patches is made here, untimed."""
    import h5py
    import zarr.storage

    zarr.storage.KVStore = type("KVStore", (dict,), {})  # of zarr 2; WSInfer mends it at once
    from wsinfer.modellib.models import LocalModelTorchScript
    from wsinfer.modellib.run_inference import run_inference
    from wsinfer.wsi import set_backend
    from wsinfer_zoo.client import ModelConfiguration

    set_backend("tiffslide")
    slides, results = folder / "slides", folder / "wsinfer"
    for made in (slides, results / "patches"):
        made.mkdir(parents=True, exist_ok=True)
    slide = slides / field.name
    if not slide.exists():
        os.link(field, slide)
    network = folder / "deep-50.pt"
    torch.jit.script(deep_50(logits=True).eval()).save(network)
    with h5py.File(results / "patches" / slide.with_suffix(".h5").name, "w") as file:
        starts = range(0, _SIDE, _TILE_PX)
        coords = file.create_dataset("coords", data=np.array([(x, y) for y in starts for x in starts]))
        coords.attrs["patch_level"], coords.attrs["patch_size"] = 0, _TILE_PX
    config = ModelConfiguration.from_dict(
        {
            "spec_version": "1.0", "architecture": "deep-50", "num_classes": _CLASSES, "class_names": ["a", "b"],
            "patch_size_pixels": _TILE_PX, "spacing_um_px": 0.5,
            "transform": [{"name": "ToTensor"}],
        }
    )  # fmt: skip
    model = LocalModelTorchScript(config=config, model_path=str(network))

    def run() -> None:
        shutil.rmtree(results / "model-outputs-csv", ignore_errors=True)
        _, failed = run_inference(slides, results, model, batch_size=_BATCH, num_workers=0)
        if failed:
            raise SystemExit("WSInfer failed")

    return run


def main() -> None:
    """Make ready, then answer line by line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what these programs print
    torch.manual_seed(1)
    run = {"tiatoolbox": tiatoolbox, "wsinfer": wsinfer}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
    for _ in sys.stdin:
        start = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            run()
        print(time.perf_counter() - start, file=answers, flush=True)


if __name__ == "__main__":
    main()
