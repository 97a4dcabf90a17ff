"""The settings of a verb, checked as those of the command line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.params.base import Params

Settings = TypeVar("Settings", bound=Params)


def checked(params: type[Settings], settings: Mapping[str, Any], **given: Any) -> Settings:
    """Check the settings of a verb.

    Raises
    ------
    ParamsError
        There is no such setting, or it is set by an argument of the function; or a value is wrong.
    """
    names = [name for name in params.model_fields if name not in given and name not in ("progress", "quiet")]
    for name in settings:
        if name not in names:
            close = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"see napari-cellclass {params.verb} --help"
            raise ParamsError(f"{params.verb} has no setting {name!r}; {hint}")
    checked: Settings = params.checked(**given, **settings)
    return checked
