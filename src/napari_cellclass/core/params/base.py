"""What all parameters have in common: they are checked, and a problem is told in one line."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from napari_cellclass.core.common.errors import ParamsError


class Params(BaseModel):
    """Base of all parameters: frozen, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _no_empty_path(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Refuse ``""``, such as of a variable that is not set: as a path it would be the current folder."""
        for name, value in values.items():
            field = cls.model_fields.get(name)
            texts = value if isinstance(value, list) else [value]
            if field is not None and "Path" in str(field.annotation) and "" in texts:
                raise ValueError(f"{name} is empty; name a file or folder")
        return values

    @classmethod
    def checked(cls, **values: Any) -> Any:
        """Build the parameters, or raise :class:`ParamsError` with one line."""
        try:
            return cls(**values)
        except ValidationError as error:
            raise ParamsError(first_problem(error)) from error


def first_problem(error: ValidationError) -> str:
    """Tell the first problem of a pydantic error in one line: which setting, the value, what is wrong."""
    problem = error.errors(include_url=False)[0]
    name = "--" + str(problem["loc"][0]).replace("_", "-") if problem["loc"] else ""
    text = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "value_error" and not name:
        return text
    if problem["type"] == "missing":
        return f"{name} is needed, but was not given"
    return f"{name} {problem['input']!r}: {text[:1].lower()}{text[1:]}"
