"""The project file ``NAME.cellproject``: JSON, read with care and written atomically."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError, field_validator, model_validator

import napari_cellclass
from napari_cellclass.core.common.errors import MALFORMED_JSON, CellClassError, DatasetError
from napari_cellclass.core.common.files import write_text
from napari_cellclass.core.common.limits import limit, limit_variable
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.workspace.records import FOLDER, Field, GridSettings, MapRecord, ModelVersion, Record, Rules

SUFFIX = ".cellproject"
_FORMAT = "napari-cellclass project"
SCHEMA = 1


def is_project(path: Path) -> bool:
    """Return whether a path names a project file, by its suffix."""
    return path.suffix.lower() == SUFFIX


class ProjectContent(Record):
    """Contents of a project file.

    Parameters
    ----------
    folder
        Name of the folder beside the file.
    fields, grid, rules, models, maps
        See :mod:`napari_cellclass.core.workspace.records`.
    classes
        See :meth:`ClassScheme.to_json`.
    labels
        A copy of all labels, see :meth:`LabelHistory.to_json`; what the log in the folder says goes before it.
    """

    format: str = _FORMAT
    schema_version: int = SCHEMA
    program: str = f"napari-cellclass {napari_cellclass.__version__}"
    folder: str
    fields: tuple[Field, ...] = ()
    grid: GridSettings = GridSettings()
    classes: tuple[dict[str, str], ...]
    labels: tuple[dict[str, Any], ...] = ()
    rules: Rules = Rules()
    models: tuple[ModelVersion, ...] = ()
    maps: tuple[MapRecord, ...] = ()

    @property
    def scheme(self) -> ClassScheme:
        """The classes of all fields."""
        return ClassScheme.from_json(self.classes)

    @field_validator("folder")
    @classmethod
    def _name_only(cls, value: str) -> str:
        if not re.fullmatch(r"[^/\\:\x00]{1,255}", value) or value in (".", ".."):
            raise ValueError("it is not the name of a folder")
        return value

    @model_validator(mode="after")
    def _unique(self) -> ProjectContent:
        _ = self.scheme
        for what, values in (
            ("fields", [one.key for one in self.fields]),
            ("models", [one.version for one in self.models]),
        ):
            if len(set(values)) < len(values):
                raise ValueError(f"two of its {what} are the same")
        return self


def read_project(path: Path) -> ProjectContent:
    """Read a project file.

    Raises
    ------
    DatasetError
        It is missing, too large, damaged, or of a newer version.
    """
    content = _parsed(path)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise DatasetError(f"{path} is not a project; choose a file NAME{SUFFIX} that this program saved")
    version = content.get("schema_version")
    if version != SCHEMA:
        raise DatasetError(
            f"{path} has version {str(version)[:20]}, but this program reads {SCHEMA}; update napari-cellclass"
        )
    try:
        return ProjectContent.model_validate(content, context={FOLDER: path.absolute().parent})
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"])) or "its content"
        raise DatasetError(f"{path} is damaged ({where[:80]}: {problem['msg'][:200]}); open an earlier copy") from error
    except (*MALFORMED_JSON, CellClassError) as error:
        raise DatasetError(f"{path} is damaged ({type(error).__name__}: {error}); open an earlier copy") from error


def _parsed(path: Path) -> Any:
    try:
        if (size := path.stat().st_size) > (most := limit("project_bytes")):
            raise DatasetError(
                f"{path} has {size:,} bytes; up to {most:,} are read, see {limit_variable('project_bytes')}"
            )
        return json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except OSError as error:
        raise DatasetError(f"cannot open {path}: {error.strerror or error}; choose a file NAME{SUFFIX}") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is damaged or not a project: {error}; open an earlier copy") from error


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def write_project(content: ProjectContent, path: Path) -> None:
    """Write a project file atomically.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    # Not as JSON by pydantic, which refuses file names that are not UTF-8.
    plain = content.model_dump(exclude={"labels"}, context={FOLDER: path.absolute().parent})
    head = json.dumps(plain, indent=2, allow_nan=False, ensure_ascii=False).removesuffix("\n}")
    # A line per grid: the encoder that indents takes twenty times as long.
    rows = ",\n".join(f"    {json.dumps(row, allow_nan=False, ensure_ascii=False)}" for row in content.labels)
    write_text(path, f'{head},\n  "labels": [\n{rows}\n  ]\n}}\n')
