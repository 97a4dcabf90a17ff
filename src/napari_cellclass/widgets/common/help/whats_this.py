"""*What's this* (Shift+F1) of fields: what a parameter means, its default and bounds, and its name as a flag."""

from __future__ import annotations

import html
import types
import typing
from typing import Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from qtpy.QtWidgets import (
    QFormLayout,
    QLabel,
    QWidget,
)

from napari_cellclass.core.params.base import Params, flag_of

_ROLES = (QFormLayout.ItemRole.LabelRole, QFormLayout.ItemRole.FieldRole)


def describe_parameter(params: type[Params], name: str, label: str) -> str:
    """Describe a parameter as text for *What's this*.

    Parameters
    ----------
    params
        The parameter model.
    name
        Name of the parameter.
    label
        What the form calls it.

    Returns
    -------
    str
        HTML: the label, the description, then what values there are and how the command line calls it.
    """
    field = params.model_fields[name]
    parts = [f"<p><b>{html.escape(label)}</b></p>", f"<p>{html.escape(_sentence(field.description or label))}</p>"]
    facts = [*_values(field.annotation, field.metadata)]
    default = field.get_default(call_default_factory=True)
    if default not in (None, "") and not isinstance(default, list | tuple):
        shown = {True: "on", False: "off"}[default] if isinstance(default, bool) else str(default)
        facts.append(f"Unless changed: {shown}.")
    if params.verb:
        facts.append(f"On the command line: {params.verb} {flag_of(params, name)}.")
    return "".join([*parts, f"<p>{' '.join(html.escape(fact) for fact in facts)}</p>" if facts else ""])


def _values(annotation: Any, rules: list[Any]) -> list[str]:
    """Tell which values a parameter may have."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        annotation = next(one for one in typing.get_args(annotation) if one is not type(None))
    if typing.get_origin(annotation) is Literal:
        return [f"One of: {', '.join(map(str, typing.get_args(annotation)))}."]
    bounds = []
    for rule in rules:
        if isinstance(rule, Ge | Gt):
            bounds.append(f"at least {rule.ge}" if isinstance(rule, Ge) else f"above {rule.gt}")
        elif isinstance(rule, Le | Lt):
            bounds.append(f"at most {rule.le}" if isinstance(rule, Le) else f"below {rule.lt}")
    return [_sentence(", ".join(bounds))] if bounds else []


def _sentence(text: str) -> str:
    """Write a text as a sentence."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def is_explained(widget: QWidget, root: QWidget) -> bool:
    """Whether *What's this* has a text for a widget, or for what it is a part of, below ``root``."""
    one: QWidget | None = widget
    while one is not None and one is not root:
        if one.whatsThis():
            return True
        one = one.parentWidget()
    return False


def explain_fields(root: QWidget) -> None:
    """Let *What's this* say, of every field and button that has only a tooltip, what that says; its label as well.

    Parameters
    ----------
    root
        A page or dock; what it holds by now is looked at.
    """
    for widget in root.findChildren(QWidget):
        tip = widget.toolTip()
        if tip and not is_explained(widget, root):
            widget.setWhatsThis(_sentence(tip))
    for rows in root.findChildren(QFormLayout):
        for row in range(rows.rowCount()):
            items = (
                rows.itemAt(row, role) for role in (QFormLayout.ItemRole.LabelRole, QFormLayout.ItemRole.FieldRole)
            )
            text, inner = (None if item is None else item.widget() for item in items)
            if isinstance(text, QLabel) and inner is not None and not text.whatsThis():
                text.setWhatsThis(_explanation(inner))
                text.setToolTip(text.toolTip() or inner.toolTip())


def _explanation(field: QWidget) -> str:
    """Give the text of a field, or of the first of its parts that has one."""
    return next((one.whatsThis() for one in (field, *field.findChildren(QWidget)) if one.whatsThis()), "")
