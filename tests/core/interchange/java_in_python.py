"""Runs the part of a script that is valid Java as Python: one statement a line, whole numbers, decimals and arrays."""

from __future__ import annotations

import math
import operator
import re
from types import SimpleNamespace
from typing import Any

_PLAIN = r"(?:int|long|double|float|boolean|String|void)"
_TYPES = _PLAIN + r"(?:\[\])?"


_MATH = SimpleNamespace(floorDiv=operator.floordiv, floorMod=operator.mod, floor=math.floor, min=min)


def _expression(text: str) -> str:
    text = re.sub(rf"\(({_TYPES})\) ?", "", text)  # casts
    made = re.fullmatch(rf"new {_PLAIN}\[(.+)\]", text)
    if made:
        return f"[0] * ({_expression(made[1])})"
    text = re.sub(r"(\d)[dL]\b", r"\1", text)
    text = re.sub(r"([\w.]+)\.length", r"len(\1)", text)
    text = re.sub(r"\.equals\((\"\w+\")\)", r" == \1", text)
    text = text.replace("&&", " and ").replace("||", " or ").replace("!=", "<>")
    text = re.sub(r"!(?=\w)", " not ", text).replace("<>", "!=")
    condition, chosen, rest = text.partition(" ? ")
    if chosen:
        yes, no = rest.split(" : ")
        return f"({yes}) if ({condition}) else ({no})"
    return text


def _line(text: str) -> str:
    method = re.fullmatch(rf"static {_TYPES} (\w+)\((.*)\) \{{", text)
    if method:
        return f"def {method[1]}({re.sub(rf'{_TYPES} (?=[a-zA-Z])', '', method[2])}):"
    loop = re.fullmatch(r"for \(int (\w+) = (\d+); \w+ < (.+); \w+\+\+\) \{", text)
    if loop:
        return f"for {loop[1]} in range({loop[2]}, {_expression(loop[3])}):"
    branch = re.fullmatch(r"if \((.+)\) \{", text)
    if branch:
        return f"if {_expression(branch[1])}:"
    assert text.endswith(";"), text
    statement = re.sub(rf"^{_TYPES} (?=\w+ = )", "", text[:-1])
    if statement.startswith("return "):
        return f"return {_expression(statement[7:])}"
    target, equals, value = statement.partition(" = ")
    return f"{target} = {_expression(value)}" if equals else _expression(statement)


def run_class(source: str) -> Any:
    """Give the static methods of a class as attributes."""
    depth, lines = 0, []
    for raw in source.splitlines():
        text = raw.strip()
        if not text or text.startswith(("//", "/**", "@", "class ")):
            continue
        if text == "}":
            depth -= 1
            continue
        lines.append("    " * depth + _line(text))
        depth += text.endswith("{")
    names: dict[str, Any] = {"Math": _MATH, "true": True, "false": False}
    exec("\n".join(lines), names)  # the script that the tests have just written
    return SimpleNamespace(**names)
