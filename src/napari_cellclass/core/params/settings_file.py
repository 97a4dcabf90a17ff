"""Parameters of a verb as a JSON file: what ``--settings`` reads, and what lies beside every result."""

from __future__ import annotations

import difflib
import itertools
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn

import napari_cellclass
from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.files import write_json
from napari_cellclass.core.common.limits import limit, limit_variable
from napari_cellclass.core.common.locks import in_scratch_folder
from napari_cellclass.core.params.base import Params

SETTINGS_FILE = "settings.json"
# How a run reports its progress changes nothing in its results.
_OF_NO_RESULT = frozenset({"progress", "quiet"})
_SHOWN = 60
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


def settings_beside(file: Path) -> Path:
    """Give the path of the settings of a result that is one file: ``NAME_settings.json``."""
    return file.with_name(f"{file.stem}_{SETTINGS_FILE}")


def settings_of(params: Params) -> dict[str, Any]:
    """Give all parameters as values of JSON, by name; paths are absolute, so that they hold in every folder."""
    values = {name: _as_json(value) for name, value in params.absolute()}
    first = [name for name, field in type(params).model_fields.items() if "positional" in field.metadata]
    return {name: values[name] for name in (*first, *(name for name in values if name not in first))}


def write_settings(params: Params, path: Path) -> None:
    """Write all parameters to a file that ``--settings`` reads.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    write_json(path, _about(params) | settings_of(params))


def save_settings(params: Params, path: Path, replace: bool = True) -> Path:
    """Write the settings that reproduce a result beside it, but never over a file of somebody else.

    Parameters
    ----------
    params
        Those of the run. Temporary files among them, which are gone when the run has ended, are left out.
    path
        The file to write; where another file is in the way, ``NAME_2.json`` and so on.
    replace
        Whether the settings of an earlier run of the same verb are replaced, as its results are; otherwise they are
        kept too, unless they are the same.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    content = _about(params)
    for name, value in settings_of(params).items():
        if name not in _OF_NO_RESULT and not (isinstance(value, str) and in_scratch_folder(Path(value))):
            content[name] = value
    for number in itertools.count(1):
        chosen = path if number == 1 else path.with_name(f"{path.stem}_{number}{path.suffix}")
        if not chosen.exists() or _may_replace(chosen, content, replace):
            break
    write_json(chosen, content)
    return chosen


def _about(params: Params) -> dict[str, Any]:
    return {"program": f"napari-cellclass {napari_cellclass.__version__}", "verb": params.verb}


def _as_json(value: Any) -> Any:
    # pydantic's own conversion refuses file names that are no UTF-8.
    if isinstance(value, list):
        return [_as_json(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _may_replace(path: Path, content: Mapping[str, Any], replace: bool) -> bool:
    """Tell whether a file was written by an earlier run of the same verb, and may be written over."""
    try:
        there = _parsed(path)
    except ParamsError:
        return False
    if not str(there.get("program", "")).startswith("napari-cellclass ") or there.get("verb") != content["verb"]:
        return False
    return replace or {**there, "program": ""} == {**content, "program": ""}


def read_settings(path: Path, params: type[Params]) -> dict[str, Any]:
    """Read a file of settings.

    Parameters
    ----------
    path
        JSON: one object with the names of ``params`` as keys, and, if the file says so, its ``verb`` and ``program``.
    params
        The verb's parameters. Only the kind of each value is checked here, see :meth:`Params.checked` for the rest.

    Returns
    -------
    dict
        The values by name.

    Raises
    ------
    ParamsError
        The file cannot be read, is no such object, is of another verb, or holds an unknown name or a value of
        another kind.
    """
    values = _parsed(path)
    verb, program = values.pop("verb", params.verb), values.pop("program", "")
    if verb != params.verb:
        raise ParamsError(
            f"{path} holds settings of {_shown(verb)}, but this is {_shown(params.verb)}; give another file, or run "
            "the verb that it belongs to"
        )
    if not isinstance(program, str):
        raise ParamsError(f'{path}: "program" is {_shown(program)}, but must be text; drop it')
    for name, value in values.items():
        field = params.model_fields.get(name)
        if field is None:
            raise ParamsError(f"{path}: {_shown(name)} is no setting of {params.verb}; {_advice(name, params)}")
        if not _fits(value, field.annotation):
            raise ParamsError(f'{path}: "{name}" is {_shown(value)}, but must be {_kind(field.annotation)}')
        if "\0" in json.dumps(value).replace("\\u0000", "\0"):
            raise ParamsError(f'{path}: "{name}" holds a NUL character, which no name can hold; remove it')
    return values


def with_flags(saved: Mapping[str, Any], given: Mapping[str, Any], params: type[Params]) -> dict[str, Any]:
    """Put flags over the settings of a file: what is given wins, also over settings that exclude it."""
    chosen = {other for name, value in given.items() if value is not False for other in params.overrules.get(name, ())}
    return {name: value for name, value in saved.items() if name not in chosen} | dict(given)


def _parsed(path: Path) -> dict[str, Any]:
    most = limit("settings_bytes")
    try:
        with path.open("rb") as stream:
            content = stream.read(most + 1)
    except OSError as error:
        raise ParamsError(f"cannot read the settings {path}: {error.strerror}; check the path") from error
    if len(content) > most:
        raise ParamsError(
            f"{path} is larger than the {most} bytes that settings may have; check the path, or raise "
            f"{limit_variable('settings_bytes')}"
        )
    try:
        values = json.loads(
            content.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite
        )
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path} is no text in UTF-8, so it holds no settings; check the path") from error
    except RecursionError as error:
        raise ParamsError(f"{path} is nested too deeply for settings; write one object") from error
    except ValueError as error:
        raise ParamsError(f"{path} cannot be read as JSON: {str(error)[:200]}; correct it") from error
    if not isinstance(values, dict):
        raise ParamsError(f'{path} holds {_shown(values)}, but settings are one object, such as {{"seed": 1}}')
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{_shown(name)} stands there twice")
        found[name] = value
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:_SHOWN]} is too large a number")
    return value


def _advice(name: str, params: type[Params]) -> str:
    near = difflib.get_close_matches(name[:_SHOWN].replace("-", "_"), params.model_fields, 1)
    return f"did you mean {_shown(near[0])}?" if near else f"see napari-cellclass {params.verb} --help"


def _shown(value: Any) -> str:
    """Write a value for an error: as in the file, cut short; what holds others only by its kind."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _choices(annotation: Any) -> tuple[Any, ...]:
    """Give the alternatives of an optional or a union; else the annotation alone."""
    union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    return typing.get_args(annotation) if union else (annotation,)


def _fits(value: Any, annotation: Any) -> bool:
    """Tell whether a value of JSON is of the kind that an annotation asks for: no text for a number, no 1 for true."""
    for one in _choices(annotation):
        origin = typing.get_origin(one)
        if origin is list:
            fits = isinstance(value, list) and all(_fits(inner, typing.get_args(one)[0]) for inner in value)
        elif origin is Literal:
            fits = isinstance(value, str) and value in typing.get_args(one)
        elif one in (str, Path):
            fits = isinstance(value, str)
        elif one is float:
            fits = isinstance(value, int | float) and not isinstance(value, bool)
        else:
            fits = type(value) is one
        if fits:
            return True
    return False


def _kind(annotation: Any) -> str:
    """Say what values an annotation allows."""
    words = []
    for one in _choices(annotation):
        origin = typing.get_origin(one)
        if origin is list:
            words.append(f"a list, each entry {_kind(typing.get_args(one)[0])}")
        elif origin is Literal:
            words.append("one of " + ", ".join(map(_shown, typing.get_args(one))))
        else:
            words.append(_KINDS.get(one, "null"))
    return " or ".join(words)
