"""Form fields made from a parameter model, so that form, flags and manifest agree."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from magicgui.widgets import Container, create_widget
from magicgui.widgets.bases import ValueWidget

from napari_cellclass.core.params.base import Params
from napari_cellclass.widgets.common.help.whats_this import describe_parameter


def form(params: type[Params], names: Sequence[str], labels: dict[str, str] | None = None) -> Container:
    """Build form fields of a parameter model.

    Parameters
    ----------
    params
        The model; types, bounds, defaults and tooltips come from its fields.
    names
        Which fields, in order.
    labels
        Labels that differ from the field's name.
    """
    widgets = [_field(params, name, (labels or {}).get(name, name.replace("_", " "))) for name in names]
    container: Container = Container(widgets=widgets, labels=True)
    container.margins = (0, 0, 0, 0)
    return container


def _field(params: type[Params], name: str, label: str) -> ValueWidget[Any]:
    field = params.model_fields[name]
    annotation: Any = field.annotation
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        annotation = next(arg for arg in typing.get_args(annotation) if arg is not type(None))
    options: dict[str, Any] = {"tooltip": field.description or ""}
    if typing.get_origin(annotation) is Literal:
        options["choices"] = list(typing.get_args(annotation))
        annotation = str
    for rule in field.metadata:
        if isinstance(rule, Ge | Gt):
            options["min"] = rule.ge if isinstance(rule, Ge) else rule.gt
        elif isinstance(rule, Le | Lt):
            options["max"] = rule.le if isinstance(rule, Le) else rule.lt
    if annotation is float:
        options["step"] = 0.05
    default = field.get_default(call_default_factory=True)
    value = {} if default is None else {"value": default}
    made: ValueWidget[Any] = create_widget(annotation=annotation, name=name, label=label, options=options, **value)
    made.native.setWhatsThis(describe_parameter(params, name, label))
    return made
