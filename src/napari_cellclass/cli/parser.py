"""Command-line flags generated from a verb's parameters."""

from __future__ import annotations

import argparse
import re
import sys
import types
import typing
from pathlib import Path
from typing import Any, Literal, NoReturn

from napari_cellclass.cli.project import complete_values, is_project_name
from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.params.base import Params, flag_of
from napari_cellclass.core.params.settings_file import override_settings, read_settings

SETTINGS_FLAG = "--settings"
_RANGE = re.compile(r"-[\d.]+(e[+-]?\d+)?:.*", re.IGNORECASE)


class VerbParser(argparse.ArgumentParser):
    """A parser that reports usage errors in one line, and reads a range such as ``-5:5`` as a value, not as a flag."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.required_actions: list[argparse.Action] = []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read ``--rotate -5:5`` as ``--rotate=-5:5``; with a settings file or a project, nothing else is required."""
        arguments: list[str] = []
        for word in sys.argv[1:] if args is None else args:
            if arguments and _RANGE.fullmatch(word) and re.fullmatch(r"--[a-z-]+", arguments[-1]):
                arguments[-1] += f"={word}"
            else:
                arguments.append(word)
        if any(word.partition("=")[0] == SETTINGS_FLAG or is_project_name(word) for word in arguments):
            for action in self.required_actions:
                action.required = False
        return super().parse_known_args(arguments, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise :class:`ParamsError`, which :func:`~napari_cellclass.cli.main.main` prints."""
        raise ParamsError(f"{message}; see {self.prog} --help")


def add_flags(parser: VerbParser, params: type[Params]) -> None:
    """Add a flag for each field of a model, and ``--settings``.

    Values stay text: the model itself validates and converts them, so that forms and flags agree.
    """
    for name, field in params.model_fields.items():
        many, choices, flag = _shape(field.annotation)
        text = (field.description or "").replace("%", "%%")
        default = field.get_default(call_default_factory=True)
        if "positional" in field.metadata:
            options: dict[str, Any] = {"nargs": "+"} if many else {}
            options |= {"metavar": flag_of(params, name), "default": argparse.SUPPRESS, "help": text}
            parser.required_actions.append(parser.add_argument(name, **options))
            continue
        if default not in (None, [], False) and not field.is_required():
            text += f" (default: {default})"
        options = {"dest": name, "default": argparse.SUPPRESS, "help": text}
        word = flag_of(params, name)
        if flag and default is False:
            options["action"] = "store_true"
            hidden: dict[str, Any] = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
            # So that a switch in a settings file can be turned off.
            parser.add_argument(f"--no-{word[2:]}", dest=name, action="store_false", **hidden)
        elif flag:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["metavar"] = "|".join(choices) if choices else name.split("_")[-1].upper()
            options["action"] = "append" if many else "store"
        action = parser.add_argument(word, required=field.is_required(), **options)
        if field.is_required():
            parser.required_actions.append(action)
    parser.add_argument(
        SETTINGS_FLAG, metavar="FILE.json", type=Path, default=argparse.SUPPRESS,
        help="read parameters that are not given here from this file, such as the one beside a result; --no-NAME turns "
        "a switch of the file off",
    )  # fmt: skip


def _shape(annotation: Any) -> tuple[bool, tuple[str, ...], bool]:
    """Return whether an annotation is a list, the words that it allows, and whether it is a switch."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        annotation = next(arg for arg in typing.get_args(annotation) if arg is not type(None))
    if typing.get_origin(annotation) is Literal:
        return False, tuple(map(str, typing.get_args(annotation))), False
    return typing.get_origin(annotation) is list, (), annotation is bool


def checked_params(model: type[Params], values: dict[str, Any]) -> Any:
    """Validate the parameters given, with those of a settings file and of a project where one was named."""
    path: Path | None = values.pop("settings", None)
    if path is None:
        return model.checked(**complete_values(model, values, set(values)))
    if path == Path():
        raise ParamsError(f"{SETTINGS_FLAG} is empty; name a file")
    given = set(values)
    values = override_settings(read_settings(path, model), values, model)
    try:
        return model.checked(**complete_values(model, values, given))
    except ParamsError as error:
        raise ParamsError(f"{error} (with the settings of {path})") from error
