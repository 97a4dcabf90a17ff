"""``napari-cellclass info``: a description of a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from napari_cellclass.core.common.errors import escape_controls
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.models.head_record import HeadRecord
from napari_cellclass.core.models.known_models import KnownModels, describe_origin
from napari_cellclass.core.models.network_choice import REASON, describe_choice
from napari_cellclass.core.models.teacher_record import TeacherRecord
from napari_cellclass.core.models.texture_decision import TextureHead

_MAX_ROWS = 12


def describe(bundle: ModelBundle) -> str:
    """Describe a model's layers, classes, data and scores as plain text."""
    return "\n".join(map(escape_controls, _lines(bundle)))


def _lines(bundle: ModelBundle) -> Iterator[str]:
    m = bundle.manifest
    pre = m.preprocess
    yield f"{bundle.path.name}: {m.network}, {m.parameters:,} parameters, made {m.created} by {m.program}"
    yield f"id        {bundle.model_id}"
    yield f"sha256    {bundle.sha256}"
    known = "used or trained here before" if KnownModels().knows(bundle) else "never used or trained here before"
    yield f"origin    {describe_origin(bundle)}; {known}"
    if choice := describe_choice(m):
        yield f"network   {choice}"
    yield "classes   " + ", ".join(
        f"{name} ({colour})" for name, colour in zip(bundle.scheme.names, bundle.scheme.colours, strict=True)
    )
    yield f"tiles     {m.tile_px[1]} x {m.tile_px[0]} px, {counted(pre.channels, 'channel')}, edge {m.edge}"
    yield f"input     {pre.input_px[1]} x {pre.input_px[0]} px, {pre.describe()}"
    if m.pixel_size_um is not None:
        yield f"pixel     {m.pixel_size_um[1]:g} x {m.pixel_size_um[0]:g} µm"
    yield ""
    yield from _layers(m.layers)
    yield ""
    texture, head = TextureHead.of(m.training), HeadRecord.of(m.training)
    taught = TeacherRecord.of(m.training)
    training = {name: value for name, value in m.training.items() if name != REASON}  # said above
    for title, content in (("data", m.data), ("training", training), ("scores", m.scores), ("export", m.export)):
        for name, value in content.items():
            if name == "head" and head is not None:
                yield f"{title:9s} {name}: {head.describe()}"
            elif name == "texture_head" and texture is not None:
                yield f"{title:9s} {name}: {texture.describe()}"
            elif name == "taught" and taught is not None:
                yield f"{title:9s} {name}: {taught.brief()}"
            elif isinstance(value, list) and value and isinstance(value[0], dict):
                shown = value if len(value) <= _MAX_ROWS else value[:2]
                yield from (f"{title:9s} {name}: {_short(entry)}" for entry in shown)
                if len(value) > len(shown):
                    yield f"{title:9s} {name}: ... {len(value)} in all"
            elif value is not None:
                yield f"{title:9s} {name}: {_short(value)}"
    if m.quantised is not None:
        yield from (f"int8      {line}" for line in m.quantised.describe())
    if m.calibration is not None:
        yield f"confidence {m.calibration.describe()}"
        yield from (f"  {line}" for line in m.calibration.reliability_lines())
    tiles = bundle.training_tiles
    yield f"novelty   {'not computed: the model carries no training tiles' if tiles is None else tiles.describe()}"
    yield "versions  " + ", ".join(f"{name} {version}" for name, version in m.versions.items())


def _layers(layers: list[dict[str, Any]]) -> Iterator[str]:
    rows = [(*(str(r.get(k, "?")) for k in ("name", "type")), _shape(r.get("output")), _count(r)) for r in layers]
    rows.insert(0, ("layer", "type", "output", "parameters"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        yield f"{row[0]:{widths[0]}s}  {row[1]:{widths[1]}s}  {row[2]:{widths[2]}s}  {row[3]:>{widths[3]}s}"


def _count(layer: dict[str, Any]) -> str:
    count = layer.get("parameters")
    return f"{count:,}" if isinstance(count, int) else "?"


def _shape(output: Any) -> str:
    return " x ".join(map(str, output)) if isinstance(output, list | tuple) else str(output)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        if {"value", "lo", "hi"} <= set(value) and isinstance(value["value"], int | float):
            known = isinstance(value["lo"], int | float) and isinstance(value["hi"], int | float)
            bounds = f" (95 % confidence interval {value['lo']:.3f} to {value['hi']:.3f})" if known else ""
            return f"{value['value']:.3f}{bounds}"
        return ", ".join(f"{k} {_short(v)}" for k, v in value.items())
    if isinstance(value, list):
        return "; ".join(map(_short, value)) if value else "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
