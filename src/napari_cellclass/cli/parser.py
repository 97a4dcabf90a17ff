"""Flags made from a verb's parameters, and their parser."""

from __future__ import annotations

import argparse
import re
import sys
import types
import typing
from pathlib import Path
from typing import Any, Literal, NoReturn

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.params.base import Params, flag_of
from napari_cellclass.core.params.settings_file import read_settings, with_flags

SETTINGS_FLAG = "--settings"
_SPAN = re.compile(r"-[\d.]+(e[+-]?\d+)?:.*", re.IGNORECASE)


class VerbParser(argparse.ArgumentParser):
    """Speaks of a usage error in one line, and takes a range such as ``-5:5`` for a value, not for a flag."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.needed: list[argparse.Action] = []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Write ``--rotate -5:5`` as ``--rotate=-5:5``; with a file of settings nothing else needs to be given."""
        words: list[str] = []
        for word in sys.argv[1:] if args is None else args:
            if words and _SPAN.fullmatch(word) and re.fullmatch(r"--[a-z-]+", words[-1]):
                words[-1] += f"={word}"
            else:
                words.append(word)
        if any(word.partition("=")[0] == SETTINGS_FLAG for word in words):
            for action in self.needed:
                action.required = False
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise :class:`ParamsError`, which :func:`~napari_cellclass.cli.main.main` prints."""
        raise ParamsError(f"{message}; see {self.prog} --help")


def add_flags(parser: VerbParser, params: type[Params]) -> None:
    """Make flags of a model's fields, and that of a file which holds them.

    The values stay text: the model itself checks and converts them, so that form and flags agree.
    """
    for name, field in params.model_fields.items():
        many, choices, flag = _shape(field.annotation)
        text = (field.description or "").replace("%", "%%")
        default = field.get_default(call_default_factory=True)
        if "positional" in field.metadata:
            options: dict[str, Any] = {"nargs": "+"} if many else {}
            options |= {"metavar": flag_of(params, name), "default": argparse.SUPPRESS, "help": text}
            parser.needed.append(parser.add_argument(name, **options))
            continue
        if default not in (None, [], False) and not field.is_required():
            text += f" (default: {default})"
        options = {"dest": name, "default": argparse.SUPPRESS, "help": text}
        word = flag_of(params, name)
        if flag and default is False:
            options["action"] = "store_true"
            hidden: dict[str, Any] = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
            # So that a switch in a file of settings can be turned off.
            parser.add_argument(f"--no-{word[2:]}", dest=name, action="store_false", **hidden)
        elif flag:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["metavar"] = "|".join(choices) if choices else name.split("_")[-1].upper()
            options["action"] = "append" if many else "store"
        action = parser.add_argument(word, required=field.is_required(), **options)
        if field.is_required():
            parser.needed.append(action)
    parser.add_argument(
        SETTINGS_FLAG, metavar="FILE.json", type=Path, default=argparse.SUPPRESS,
        help="take what is not given here from this file, such as the one beside a result; --no-NAME turns a switch "
        "of the file off",
    )  # fmt: skip


def _shape(annotation: Any) -> tuple[bool, tuple[str, ...], bool]:
    """Tell whether an annotation is a list, which words it allows, and whether it is a switch."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        annotation = next(arg for arg in typing.get_args(annotation) if arg is not type(None))
    if typing.get_origin(annotation) is Literal:
        return False, tuple(map(str, typing.get_args(annotation))), False
    return typing.get_origin(annotation) is list, (), annotation is bool


def checked_params(model: type[Params], values: dict[str, Any]) -> Any:
    """Check what was given, with the settings of a file beneath where one was named."""
    path: Path | None = values.pop("settings", None)
    if path is None:
        return model.checked(**values)
    if path == Path():
        raise ParamsError(f"{SETTINGS_FLAG} is empty; name a file")
    together = with_flags(read_settings(path, model), values, model)
    try:
        return model.checked(**together)
    except ParamsError as error:
        raise ParamsError(f"{error} (with the settings of {path})") from error
