"""Base of all parameters: they are validated, and a problem is described in one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from napari_cellclass.core.common.errors import ParamsError

_MAX_SHOWN = 400  # letters of a value, or of a message with one in it


class Params(BaseModel):
    """Base of all parameters: frozen; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    verb: ClassVar[str] = ""
    """The command-line verb that has these parameters, or empty."""
    overrides: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Parameters that a parameter excludes, by its name; they are dropped from a settings file where it is given."""

    @model_validator(mode="before")
    @classmethod
    def _no_empty_path(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Refuse ``""``, as from an unset shell variable: as a path it would be the current folder."""
        for name, value in values.items():
            field = cls.model_fields.get(name)
            texts = value if isinstance(value, list) else [value]
            if field is not None and "Path" in str(field.annotation) and "" in texts:
                raise ValueError(f"{name} is empty; name a file or folder")
        return values

    @classmethod
    def checked(cls, **values: Any) -> Any:
        """Create the parameters, or raise :class:`ParamsError` with one line."""
        try:
            return cls(**values)
        except ValidationError as error:
            raise ParamsError(describe_problem(error, cls)) from error

    def absolute(self) -> Self:
        """Return the same parameters with absolute paths, for use in another folder."""
        changed: dict[str, Any] = {}
        for name, value in self:
            if isinstance(value, Path):
                changed[name] = value.absolute()
            elif isinstance(value, list):
                changed[name] = [one.absolute() if isinstance(one, Path) else one for one in value]
        return self.model_copy(update=changed)


def flag_of(params: type[Params], name: str) -> str:
    """Return how a parameter is named on the command line: ``--tile-px``, or ``IMAGE`` where it is positional."""
    field = params.model_fields.get(name)
    if field is not None and "positional" in field.metadata:
        return name.rstrip("s").upper()
    return "--" + name.replace("_", "-")


def describe_problem(error: ValidationError, params: type[Params]) -> str:
    """Describe the first problem of a pydantic error in one line: which setting, the value, what is wrong."""
    problem = error.errors(include_url=False)[0]
    name = flag_of(params, str(problem["loc"][0])) if problem["loc"] else ""
    text = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "value_error" and not name:
        return _shortened(text)
    if problem["type"] == "missing":
        return f"{name} is needed, but was not given"
    return f"{name} {_shortened(repr(problem['input']))}: {_shortened(text[:1].lower() + text[1:])}"


def _shortened(text: str) -> str:
    """Leave the middle of a long text out: a message begins with the setting and ends with what to do."""
    half = _MAX_SHOWN // 2
    return text if len(text) <= _MAX_SHOWN else f"{text[:half]} ... {text[-half:]}"
