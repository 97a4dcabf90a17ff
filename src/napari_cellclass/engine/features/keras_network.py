"""The Keras network of a model: read from its file, or made of the linear models that it holds instead."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.models.feature_spec import FeatureSpec
from napari_cellclass.engine.features.classifier import build_classifier
from napari_cellclass.engine.features.extractor import check_version
from napari_cellclass.engine.networks.loading import load_network


def keras_network(bundle: ModelBundle) -> Any:
    """Return the Keras network of a model, without running any code from its file.

    Raises
    ------
    ModelError
        It could run code or read other files, Keras cannot load it, or there is none; or it is made of features that
        this version does not compute.
    """
    stored = bundle.stored_head
    if stored is None:
        return load_network(bundle)
    try:
        spec = FeatureSpec.model_validate(bundle.manifest.training.get("features"))
    except ValidationError as error:
        raise ModelError(f"{bundle.path} is damaged: it does not say what its features are; train again") from error
    check_version(spec)
    shape = (*bundle.preprocess.input_px, bundle.preprocess.channels)
    return build_classifier(shape, spec.colour, False, stored.scaling, stored.head)
