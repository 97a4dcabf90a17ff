"""Features of raw tiles, computed by OpenVINO in this process."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.models.feature_spec import EFFICIENTNET_LITE0, FeatureSpec
from napari_cellclass.core.tiles.preprocess import PreprocessSpec
from napari_cellclass.engine.common.environment import import_openvino
from napari_cellclass.engine.common.tile_input import check_tiles
from napari_cellclass.engine.features import backbone, texture
from napari_cellclass.engine.features.user_backbone import OPENVINO_ERRORS, UserBackbone
from napari_cellclass.engine.features.weights import SHA256, pretrained_weights
from napari_cellclass.engine.inference.openvino_graph import OpenVinoNetwork, TileFormat


def new_feature_spec(
    preprocess: PreprocessSpec, colour: bool, pretrained: bool = True, user_backbone: UserBackbone | None = None
) -> FeatureSpec:
    """Describe the features of this version.

    Parameters
    ----------
    preprocess
        See :func:`~napari_cellclass.core.models.feature_spec.feature_preprocess`.
    colour
        Whether the channels are red, green and blue.
    pretrained
        Whether those of the pretrained backbone are among them; else texture features alone.
    user_backbone
        Takes the place of ours; tiles are resized to the size that it takes.

    Raises
    ------
    ModelError
        The weights of the backbone are not installed, or another file is in their place; or a user's backbone does not
        take the channels.
    """
    if user_backbone is not None:
        return _with_user_backbone(preprocess, colour, user_backbone)
    if pretrained:
        pretrained_weights()
    columns = texture.texture_columns(preprocess.channels, preprocess.input_px)
    return FeatureSpec(
        preprocess=preprocess,
        colour=colour,
        backbone=EFFICIENTNET_LITE0 if pretrained else None,
        backbone_sha256=SHA256 if pretrained else "",
        texture_version=texture.TEXTURE_VERSION,
        columns=(backbone.backbone_columns(preprocess.channels, colour) if pretrained else 0, columns),
    )


def _with_user_backbone(preprocess: PreprocessSpec, colour: bool, user_backbone: UserBackbone) -> FeatureSpec:
    preprocess = preprocess.model_copy(update={"input_px": user_backbone.input_px})
    views = user_backbone.views(preprocess.channels, colour)
    return FeatureSpec(
        preprocess=preprocess,
        colour=colour,
        backbone=user_backbone.path.name,
        backbone_sha256=user_backbone.sha256,
        backbone_scaling=user_backbone.scaling,
        texture_version=texture.TEXTURE_VERSION,
        columns=(
            views * user_backbone.outputs,
            texture.texture_columns(preprocess.channels, preprocess.input_px),
        ),
    )


def feature_names(spec: FeatureSpec, user_backbone: UserBackbone | None = None) -> tuple[str, ...]:
    """Name the columns of features: first those of the backbone, then those of texture."""
    channels = spec.preprocess.channels
    names = texture.texture_names(channels, spec.preprocess.input_px)
    if user_backbone is not None:
        return user_backbone.names(channels, spec.colour) + names
    if spec.backbone is None:
        return names
    return backbone.backbone_names(channels, spec.colour) + names


def check_version(spec: FeatureSpec, user_backbone: UserBackbone | None = None) -> None:
    """Refuse features that this version does not compute.

    Raises
    ------
    ModelError
        The backbone is not that of this version; or not the user's own that was given.
    """
    known = ("", SHA256) if user_backbone is None else (user_backbone.sha256,)
    if spec.texture_version != texture.TEXTURE_VERSION or spec.backbone_sha256 not in known:
        raise ModelError(
            f"features of {spec.backbone or 'texture'} in another version than this program computes; make them anew"
        )


def feature_model(spec: FeatureSpec, user_backbone: UserBackbone | None = None) -> Any:
    """Build the OpenVINO model from network input (n, H, W, C) to features (n, F): backbone first, then texture.

    Raises
    ------
    ModelError
        The backbone is not that of this version, or is not installed; or not the user's own that was given.
    """
    check_version(spec, user_backbone)
    ov = import_openvino()
    import openvino.opset13 as op

    shape = (*spec.preprocess.input_px, spec.preprocess.channels)
    tiles = op.parameter([-1, *shape], np.float32, name="tiles")
    parts = [texture.build_openvino(tiles)]
    if spec.backbone is not None:
        parts.insert(0, (user_backbone or backbone).build_openvino(tiles, spec.colour))
    return ov.Model([op.concat(parts, 1)], [tiles], "features")


class FeatureExtractor:
    """Computes features of raw tiles of one format, in float32; threads may share it.

    A tile's features do not depend on the other tiles of a call, nor on the number of threads.

    Parameters
    ----------
    spec
        Which features, and from which grey values.
    tile_format
        Shape and dtype of the tiles.
    threads
        Number of CPU threads, None for all.
    user_backbone
        The user's backbone, where ``spec`` names one.

    Raises
    ------
    ModelError
        The backbone is not installed, or OpenVINO cannot compile it.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        tile_format: TileFormat,
        threads: int | None = None,
        user_backbone: UserBackbone | None = None,
    ) -> None:
        self.spec, self.tile_format = spec, tile_format
        try:
            model = feature_model(spec, user_backbone)
            self._network = OpenVinoNetwork(model, spec.preprocess, tile_format, threads)
        except OPENVINO_ERRORS as error:
            reason = (str(error).strip() or "no reason given").splitlines()[-1][:200]
            what = spec.backbone or "texture"
            raise ModelError(f"OpenVINO cannot compute features of {what} ({reason}); use another backbone") from error
        if self._network.outputs != self.columns:
            raise ModelError(
                f"{spec.backbone} gives {self._network.outputs} features, not {self.columns}; export it so that it "
                "takes several images at once"
            )

    @property
    def columns(self) -> int:
        """Number F of features."""
        return sum(self.spec.columns)

    def __call__(self, tiles: NDArray[Any]) -> NDArray[np.float32]:
        """Compute features of raw tiles.

        Parameters
        ----------
        tiles
            Shape (n, h, w, C) and dtype of :attr:`tile_format`; n may be 0.

        Returns
        -------
        ndarray of float32, shape (n, F)
            A row of NaN where a tile holds NaN or infinite pixels.

        Raises
        ------
        ModelError
            The tiles have another format.
        """
        tiles = np.asarray(tiles)
        check_tiles(tiles, self.spec.preprocess)
        if TileFormat.of(tiles) != self.tile_format:
            raise ModelError(f"tiles of {TileFormat.of(tiles)} were given, but {self.tile_format} was expected")
        return self._network(tiles) if len(tiles) else np.zeros((0, self.columns), np.float32)
