"""The scale of features that a labelling session has used: grey-value ranges, and mean and scale of each feature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.common.files import write_text
from napari_cellclass.core.models.feature_spec import FeatureSpec
from napari_cellclass.core.models.linear_head import Standardisation

SUFFIX = ".features.json"
_LARGEST_BYTES = 16 << 20


class FeatureScale(BaseModel):
    """How features were computed and standardised, over all tiles of the fields, labelled or not.

    A model that is trained with it predicts what was predicted while labelling; from the labelled tiles alone other
    ranges, means and scales would follow.

    Attributes
    ----------
    spec
        Which features, and the grey-value ranges.
    mean, factor
        Of each feature, backbone first: its mean, and 1 / its standard deviation, 0 for one that does not vary.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: FeatureSpec
    mean: tuple[float, ...]
    factor: tuple[float, ...]

    @model_validator(mode="after")
    def _fits(self) -> FeatureScale:
        if not len(self.mean) == len(self.factor) == sum(self.spec.columns):
            raise ValueError(f"{len(self.mean)} means of {sum(self.spec.columns)} features")
        if not np.isfinite([self.mean, self.factor]).all() or min(self.factor) < 0:
            raise ValueError("a mean or scale is no number")
        return self

    @classmethod
    def of(cls, spec: FeatureSpec, standardisation: Standardisation) -> FeatureScale:
        """Note the standardisation of all features, both sets together."""
        return cls(spec=spec, mean=standardisation.mean.tolist(), factor=standardisation.factor.tolist())

    def standardisations(self) -> list[Standardisation]:
        """Give the standardisation of each feature set."""
        mean, factor = np.asarray(self.mean, np.float32), np.asarray(self.factor, np.float32)
        with np.errstate(divide="ignore"):
            scale = np.float32(1.0) / factor
        cut = self.spec.columns[0]
        return [Standardisation(mean[part], scale[part]) for part in (slice(None, cut), slice(cut, None))]

    def save(self, path: Path) -> Path:
        """Write it as JSON.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        write_text(path, self.model_dump_json())
        return path


def read_feature_scale(path: Path) -> FeatureScale:
    """Read what :meth:`FeatureScale.save` wrote.

    Raises
    ------
    ModelError
        There is no such file, or it is another one.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ModelError(f"{path} is too large for a scale of features; give a file that Keep as model wrote")
        return FeatureScale.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read the scale of features {path}: {error.strerror or error}") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        reason = f"{'.'.join(map(str, problem['loc'])) or 'content'}: {problem['msg']}"
        raise ModelError(f"{path} is no scale of features ({reason}); give a file that Keep as model wrote") from error
