"""Classes of a model and classes of the labels, matched by name; what has no match is asked."""

from __future__ import annotations

from collections.abc import Sequence

from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.label_store import UNLABELLED
from napari_cellclass.viewer.workspace.opening import PLACEHOLDERS
from napari_cellclass.viewer.workspace.workspace import Workspace


def unmatched_classes(workspace: Workspace, names: Sequence[str]) -> list[str]:
    """Give the classes of a model that none of the labels' has the name of, and that nobody has matched yet.

    A field whose only classes are those that it starts with gets the model's.
    """
    ours = () if workspace.annotation is None else workspace.annotation.scheme.names
    if not set(ours) - set(PLACEHOLDERS):
        return []
    return [name for name in names if name not in ours and workspace.matched.get(name) not in ours]


def match_class(workspace: Workspace, name: str, ours: str | None) -> None:
    """Let a model's class stand for one of the labels', or add it as a class of its own where that is None."""
    if ours is None:
        workspace.edit_classes(lambda annotation: annotation.add_class(name))
    else:
        workspace.matched[name] = ours


def matched_names(workspace: Workspace, names: Sequence[str]) -> tuple[str, ...]:
    """Give the labels' classes that a model's stand for."""
    return tuple(workspace.matched.get(name, name) for name in names)


def adopt_classes(workspace: Workspace, scheme: ClassScheme) -> None:
    """Take the classes of a model for a field in which nothing was labelled and no class was named yet."""
    annotation = workspace.annotation
    if annotation is None or set(annotation.scheme.names) - set(PLACEHOLDERS):
        return
    in_project = workspace.session.project is not None  # there the classes are those of all fields
    if in_project or (annotation.labels != UNLABELLED).any() or workspace.source is None or workspace.layers is None:
        return
    fresh = Annotation(annotation.image, annotation.grid, scheme, workspace.journal)
    workspace.open(fresh, workspace.source, workspace.layers.field_layer)
