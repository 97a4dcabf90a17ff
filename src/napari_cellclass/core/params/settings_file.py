"""Parameters of a verb as a JSON file: read by ``--settings``, and written beside every result."""

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
_WITHOUT_EFFECT = frozenset({"progress", "quiet"})
_SHOWN = 60
_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


def settings_beside(file: Path) -> Path:
    """Return the path of the settings of a result that is a single file: ``NAME_settings.json``."""
    return file.with_name(f"{file.stem}_{SETTINGS_FILE}")


def settings_of(params: Params) -> dict[str, Any]:
    """Return all parameters as JSON values by name; paths are absolute, so that they are valid in every folder."""
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
    """Write the settings that reproduce a result beside it, but never over a file of another program.

    Parameters
    ----------
    params
        Those of the run. Temporary files among them, which are removed when the run ends, are omitted.
    path
        The file to write; where another file exists, ``NAME_2.json`` and so on.
    replace
        Whether the settings of an earlier run of the same verb are replaced, as its results are; otherwise they
        are kept as well, unless they are equal.

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
        if name not in _WITHOUT_EFFECT and not (isinstance(value, str) and in_scratch_folder(Path(value))):
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
    # pydantic's own conversion refuses file names that are not UTF-8.
    if isinstance(value, list):
        return [_as_json(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _may_replace(path: Path, content: Mapping[str, Any], replace: bool) -> bool:
    """Return whether a file was written by an earlier run of the same verb, and may be overwritten."""
    try:
        existing = _parsed(path)
    except ParamsError:
        return False
    if not str(existing.get("program", "")).startswith("napari-cellclass ") or existing.get("verb") != content["verb"]:
        return False
    return replace or {**existing, "program": ""} == {**content, "program": ""}


def read_settings(path: Path, params: type[Params]) -> dict[str, Any]:
    """Read a settings file.

    Parameters
    ----------
    path
        JSON: one object with the names of ``params`` as keys and, optionally, ``verb`` and ``program``.
    params
        The verb's parameters. Only the type of each value is checked here, see :meth:`Params.checked` for the rest.

    Returns
    -------
    dict
        The values by name.

    Raises
    ------
    ParamsError
        The file cannot be read, is no such object, belongs to another verb, or holds an unknown name or a value of
        another type.
    """
    values = _parsed(path)
    verb, program = values.pop("verb", params.verb), values.pop("program", "")
    if verb != params.verb:
        raise ParamsError(
            f"{path} holds settings of {_shown(verb)}, but this is {_shown(params.verb)}; give another file, or run "
            "that verb"
        )
    if not isinstance(program, str):
        raise ParamsError(f'{path}: "program" is {_shown(program)}, but must be text; drop it')
    for name, value in values.items():
        field = params.model_fields.get(name)
        if field is None:
            raise ParamsError(f"{path}: {_shown(name)} is no setting of {params.verb}; {_suggestion(name, params)}")
        if not _fits(value, field.annotation):
            raise ParamsError(f'{path}: "{name}" is {_shown(value)}, but must be {_type_name(field.annotation)}')
        if "\0" in json.dumps(value).replace("\\u0000", "\0"):
            raise ParamsError(f'{path}: "{name}" holds a NUL character, which no file name can contain; remove it')
    return values


def override_settings(saved: Mapping[str, Any], given: Mapping[str, Any], params: type[Params]) -> dict[str, Any]:
    """Override the settings of a file by the parameters given, also those settings that exclude a given one."""
    excluded = {
        other for name, value in given.items() if value is not False for other in params.overrides.get(name, ())
    }
    return {name: value for name, value in saved.items() if name not in excluded} | dict(given)


def _parsed(path: Path) -> dict[str, Any]:
    max_bytes = limit("settings_bytes")
    try:
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise ParamsError(f"cannot read the settings {path}: {error.strerror}; check the path") from error
    if len(content) > max_bytes:
        raise ParamsError(
            f"{path} is larger than the {max_bytes} bytes that settings may have; check the path, or raise "
            f"{limit_variable('settings_bytes')}"
        )
    try:
        values = json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path} is not UTF-8 text, so it holds no settings; check the path") from error
    except RecursionError as error:
        raise ParamsError(f"{path} is nested too deeply for settings; write one object") from error
    except ValueError as error:
        raise ParamsError(f"{path} cannot be read as JSON: {str(error)[:200]}; correct it") from error
    if not isinstance(values, dict):
        raise ParamsError(f'{path} holds {_shown(values)}, but settings are one object, such as {{"seed": 1}}')
    return values


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{_shown(name)} is given twice")
        found[name] = value
    return found


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:_SHOWN]} is too large a number")
    return value


def _suggestion(name: str, params: type[Params]) -> str:
    near = difflib.get_close_matches(name[:_SHOWN].replace("-", "_"), params.model_fields, 1)
    return f"did you mean {_shown(near[0])}?" if near else f"see napari-cellclass {params.verb} --help"


def _shown(value: Any) -> str:
    """Return a value as shown in an error: as in the file, cut short; of a list or object its type only."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _choices(annotation: Any) -> tuple[Any, ...]:
    """Return the alternatives of an optional or a union, else the annotation alone."""
    union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    return typing.get_args(annotation) if union else (annotation,)


def _fits(value: Any, annotation: Any) -> bool:
    """Return whether a JSON value has the type of an annotation: no text for a number, no 1 for true."""
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


def _type_name(annotation: Any) -> str:
    """Describe the values that an annotation allows."""
    words = []
    for one in _choices(annotation):
        origin = typing.get_origin(one)
        if origin is list:
            words.append(f"a list, each entry {_type_name(typing.get_args(one)[0])}")
        elif origin is Literal:
            words.append("one of " + ", ".join(map(_shown, typing.get_args(one))))
        else:
            words.append(_TYPES.get(one, "null"))
    return " or ".join(words)
