"""Predictions that follow every label: features of the tiles stream in, and each change of labels is fitted anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.task import Progress
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.label_store import UNLABELLED
from napari_cellclass.core.models.feature_scale import FeatureScale
from napari_cellclass.runs.live.features import LiveExtractor
from napari_cellclass.runs.live.field_features import FieldFeatures
from napari_cellclass.runs.live.session import LivePrediction, LiveSession
from napari_cellclass.runs.live.stream import FieldToRead, Priority
from napari_cellclass.runs.train.annotated_fields import AnnotatedField
from napari_cellclass.viewer.common.layers import file_of
from napari_cellclass.viewer.common.preferences import cpu_threads
from napari_cellclass.viewer.workspace.live_labels import (
    LabelledField,
    current_field,
    group_of_image,
    other_project_fields,
)
from napari_cellclass.viewer.workspace.tile_queue import LiveState
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.annotate.work import (
    KeepRequest,
    choose_typical,
    fill_features,
    predict_labels,
    regions_by_corner,
    stream,
    with_groups,
    with_held_out,
)
from napari_cellclass.widgets.common.jobs import Job, start_job

_STREAM_INTERVAL_S = 0.4  # between predictions while features stream in
_SETTLES_MS = 15  # several changes of labels at once are one
_TYPICAL_FROM = 200  # known tiles, or all, before typical ones are chosen


@dataclass(eq=False)
class _Opened:
    """A field whose features are there or on their way."""

    labelled: LabelledField
    open_source: Callable[[], SourceImage]
    features: FieldFeatures
    priority: Priority
    path: Path | None


class LivePredictions(QObject):
    """Keeps predictions of the field that is open up to date with all labels of the work.

    At most one fit runs at a time; what changes meanwhile is fitted once, with everything that has changed until then.
    ``predicted`` is sent with a :class:`LivePrediction`, or None where there is none any more; ``progressed`` with how
    many of how many tiles have features; ``failed`` with why there are no features; ``typical_chosen`` once typical
    tiles of the field are known; ``label_fit_started`` when a change of labels is being fitted.

    Parameters
    ----------
    workspace
        The work.
    owner
        The widget that listens.
    """

    predicted = Signal(object)
    progressed = Signal(int, int)
    failed = Signal(str)
    typical_chosen = Signal()
    label_fit_started = Signal()

    def __init__(self, workspace: Workspace, owner: QWidget) -> None:
        super().__init__(owner)
        self._workspace, self._owner = workspace, owner
        self._opened: dict[str, _Opened] = {}
        self.extractor: LiveExtractor | None = None
        self.session: LiveSession | None = None
        self._stream_job: Job | None = None
        self._fit_job: Job | None = None
        self._typical_job: Job | None = None
        self._again = False
        self._filled: object = None  # the project whose fields' features are on disk
        self._revision = 0
        self._predicted_at = 0.0
        self.enabled = True
        self.current: LivePrediction | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SETTLES_MS)
        self._timer.timeout.connect(self._fit)
        workspace.field_changed.connect(self._field_changed)
        workspace.labels_changed.connect(self._labels_changed)
        workspace.classes_changed.connect(self._request)
        workspace.session.changed.connect(self._regroup)
        workspace.viewer.scene.camera.events.center.connect(self._view_moved)

    def opened_fields(self) -> list[tuple[LabelledField, FieldFeatures]]:
        """Give the fields that count, with their features as far as they are known."""
        return [(one.labelled, one.features) for one in self._opened.values()]

    @property
    def opened(self) -> Mapping[str, _Opened]:
        """The fields whose features are there or on their way, by key."""
        return dict(self._opened)

    # -- which field -------------------------------------------------------------------------------

    def set_enabled(self, enabled: bool) -> None:
        """Switch live predictions on or off; features that are known are kept."""
        if enabled == self.enabled:
            return
        self.enabled = enabled
        if enabled:
            self._field_changed()
        else:
            self._stop_stream()
            self._show(None)

    def _field_changed(self) -> None:
        self._stop_stream()
        self.current = self._workspace.live = None
        field, source = current_field(self._workspace), self._workspace.source
        if not self.enabled or field is None or source is None:
            self._show(None)
            return
        if self.extractor is None or not self.extractor.takes(source):
            self._opened.clear()
            try:
                self.extractor = LiveExtractor.for_field(source, cpu_threads())
            except CellClassError as error:
                self._stream_failed(error)
                return
            self.session = LiveSession(self.extractor.columns)
        self._forget_other_grids(field)
        self._take_in(field, partial(_same, source), file_of(self._workspace.image_layers()))
        for other, labelled in other_project_fields(self._workspace):
            assert other.path is not None
            if labelled.key not in self._opened:
                self._take_in(labelled, partial(other.read, other.path), other.path)
        self._view_moved()
        self._start_stream(field.key)
        self._request()

    def _take_in(self, field: LabelledField, open_source: Callable[[], SourceImage], path: Path | None) -> None:
        """Let a field count, with the features that are known of it."""
        assert self.session is not None
        assert self.extractor is not None
        known = self._opened.get(field.key)
        features = None if known is None else known.features
        if features is None:
            features = FieldFeatures(field.key, field.annotation.grid, sum(self.extractor.columns), field.group)
            self.session.add(features)
        features.group = field.group  # which it may not have had when it was opened
        priority = Priority() if known is None else known.priority
        self._opened[field.key] = _Opened(field, open_source, features, priority, path)

    def _regroup(self) -> None:
        """Hold out together what the project groups now: fields that were opened before it, or before another rule."""
        project, regrouped = self._workspace.session.project, False
        for one in self._opened.values():
            group = group_of_image(project, one.labelled.image_id)
            if group != one.labelled.group:
                regrouped = True
                one.labelled, one.features.group = replace(one.labelled, group=group), group
        if regrouped:
            self._request()

    def _forget_other_grids(self, field: LabelledField) -> None:
        """Forget the tiles of another size of the same image, whose labels are hidden."""
        image = field.annotation.image.image_id
        for key, one in list(self._opened.items()):
            if key != field.key and one.labelled.annotation.image.image_id == image:
                del self._opened[key]
                if self.session is not None:
                    self.session.remove(key)

    def _view_moved(self, event: Any = None) -> None:
        opened, layers = self._opened.get(self._workspace.field_key), self._workspace.layers
        if opened is not None and layers is not None:
            centre = np.array(self._workspace.viewer.scene.camera.center[-2:], float)
            opened.priority.set_centre(*layers.field_point((*[0.0] * (self._workspace.viewer.dims.ndim - 2), *centre)))

    # -- features ----------------------------------------------------------------------------------

    def _start_stream(self, shown: str) -> None:
        order = [shown, *(key for key in self._opened if key != shown)]
        fields = []
        for key in order:
            one = self._opened[key]
            one.priority.set_wanted(np.flatnonzero(np.asarray(one.labelled.annotation.labels) != UNLABELLED))
            if not one.features.complete:
                fields.append(FieldToRead(one.features, one.open_source, one.priority))
        if not fields:
            self._features_known()
            return
        assert self.extractor is not None
        self._stream_job = job = start_job(stream, owner=self._owner, extractor=self.extractor, fields=fields)
        job.progressed.connect(lambda update: self._streamed(update) if job is self._stream_job else None)
        job.returned.connect(lambda _: self._features_known() if job is self._stream_job else None)
        job.failed.connect(lambda error: self._stream_failed(error) if job is self._stream_job else None)

    def _stop_stream(self) -> None:
        job, self._stream_job = self._stream_job, None
        if job is not None:
            job.cancel()

    def _streamed(self, update: Progress) -> None:
        opened = self._opened.get(self._workspace.field_key)
        if opened is None or not update.total:
            return
        known = int(opened.features.known.sum())
        self.progressed.emit(known, len(opened.features.grid))
        if known >= min(_TYPICAL_FROM, len(opened.features.grid)):
            self._choose_typical()
        if time.monotonic() - self._predicted_at >= _STREAM_INTERVAL_S:
            self._request()

    def _features_known(self) -> None:
        self.progressed.emit(1, 1)
        if self.extractor is not None and self.extractor.problem:
            self._workspace.message.emit(f"Features are not kept for the next time: {self.extractor.problem}", True)
        self._choose_typical()
        self._request()
        self._fill_store()

    def _fill_store(self) -> None:
        """Compute what the other fields of the project will need, while nothing else is to be done."""
        project, extractor = self._workspace.session.project, self.extractor
        if project is None or extractor is None or project.grid.tile_px is None or self._filled is project:
            return
        self._filled = project
        sources = [partial(field.read, field.path) for field in project.fields if field.path is not None]
        self._stream_job = start_job(
            fill_features, owner=self._owner, extractor=extractor, sources=sources, grid=project.grid
        )

    def _stream_failed(self, error: CellClassError) -> None:
        self.failed.emit(str(error))

    def _choose_typical(self) -> None:
        key, session = self._workspace.field_key, self.session
        known = self._workspace.live is not None and self._workspace.live.key == key
        if known or session is None or key not in session.fields or self._typical_job is not None:
            return
        self._typical_job = job = start_job(choose_typical, owner=self._owner, session=session, key=key)
        job.returned.connect(lambda tiles: self._take_typical(key, tiles))
        job.finished.connect(self._typical_done)

    def _typical_done(self) -> None:
        self._typical_job = None

    def _take_typical(self, key: str, tiles: NDArray[np.int64]) -> None:
        if key != self._workspace.field_key or not self.enabled:
            return
        prob = self.current.prob if self.current is not None and self.current.key == key else None
        first = self._workspace.live is None
        self._workspace.live = LiveState(key, tiles, self._ranked(prob))
        self.typical_chosen.emit()
        annotation = self._workspace.annotation
        untouched = first and annotation is not None and not annotation.undo_depth and self._workspace.current_tile == 0
        if untouched and len(tiles) and self._workspace.policy == "suggested":
            self._workspace.go_to(int(tiles[0]), follow=False)

    # -- predictions -------------------------------------------------------------------------------

    def _labels_changed(self, change: object) -> None:
        opened = self._opened.get(self._workspace.field_key)
        if opened is not None and not opened.features.complete:
            labels = np.asarray(opened.labelled.annotation.labels)
            opened.priority.set_wanted(np.flatnonzero(labels != UNLABELLED))
        self._revision += 1
        self._timer.stop()
        self._fit()  # at once: after a timer, the label would be painted first, and the fit come after that
        if self._fit_job is not None and not self._again:
            self.label_fit_started.emit()

    def _request(self) -> None:
        self._revision += 1
        if self.enabled and not self._timer.isActive():
            self._timer.start()

    def _fit(self) -> None:
        """Fit all labels, unless a fit is running, which then is followed by another one."""
        annotation, session, key = self._workspace.annotation, self.session, self._workspace.field_key
        if not self.enabled or annotation is None or session is None or key not in session.fields:
            return
        if self._fit_job is not None:
            self._again = True
            return
        names = annotation.scheme.names
        request = {
            "labels": self.all_labels(),
            "drawn": {one_key: one.labelled.drawn() for one_key, one in self._opened.items()},
            "n_classes": len(names), "shown": key, "revision": self._revision,
        }  # fmt: skip
        self._fit_job = job = start_job(predict_labels, owner=self._owner, session=session, request=request)
        job.returned.connect(lambda found: self._take(found, names))
        job.failed.connect(lambda error: self.failed.emit(str(error)))
        job.finished.connect(self._fitted)

    def all_labels(self) -> dict[str, NDArray[np.int16]]:
        """Give the labels of all fields of the work, by field: class indices of the field that is open."""
        assert self._workspace.annotation is not None
        names = self._workspace.annotation.scheme.names
        return {key: one.labelled.labels_in(names) for key, one in self._opened.items()}

    def _fitted(self) -> None:
        self._fit_job = None
        if self._again:
            self._again = False
            self._fit()

    def _take(self, found: LivePrediction | None, names: tuple[str, ...]) -> None:
        annotation = self._workspace.annotation
        if annotation is None or annotation.scheme.names != names or not self.enabled:
            return
        if found is not None and found.key != self._workspace.field_key:
            return
        self._predicted_at = time.monotonic()
        self._show(found)

    def _show(self, found: LivePrediction | None) -> None:
        self.current = found
        live = self._workspace.live
        if live is not None:
            self._workspace.live = LiveState(
                live.key, live.typical, self._ranked(None if found is None else found.prob)
            )
        self.predicted.emit(found)

    def _ranked(self, prob: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        """Return probabilities to rank tiles by: only those of two classes or more say what is unsure."""
        return None if self.current is None or self.current.fit is None else prob

    # -- a model of the labels ---------------------------------------------------------------------

    def keep_request(self, out: Path) -> KeepRequest | None:
        """Give what a model is made of that predicts what is shown now; None where nothing is predicted.

        Its tiles have the columns ``live`` and ``drawn`` of :func:`with_held_out`.

        Raises
        ------
        ImageError
            A field of the project cannot be opened any more.
        """
        found, annotation, extractor = self.current, self._workspace.annotation, self.extractor
        if found is None or found.standardisation is None or annotation is None or extractor is None:
            return None
        assert extractor.spec is not None
        names, fields = annotation.scheme.names, []
        for one in self._opened.values():
            field = AnnotatedField.of(one.open_source(), one.labelled.annotation)
            tiles = field.tiles[field.tiles["class_name"].isin(names)]
            field = replace(field, tiles=tiles, path=field.path or one.path)
            regions = None
            if found.held_out_by != "group":
                regions = regions_by_corner(one.features.grid.boxes, one.features.regions())
            if found.held_out is not None:
                held_out = found.held_out.of_field(one.labelled.key)
                field = with_held_out(field, one.features.grid.boxes, held_out, names)
            fields.append(with_groups(field, one.labelled.group, regions))
        return KeepRequest(tuple(fields), FeatureScale.of(extractor.spec, found.standardisation), out)

    def close(self) -> None:
        """Leave no job running."""
        self.enabled = False
        self._timer.stop()
        self._stop_stream()
        self._workspace.viewer.scene.camera.events.center.disconnect(self._view_moved)
        for job in (self._fit_job, self._typical_job):
            if job is not None:
                job.mute()


def _same(source: SourceImage) -> SourceImage:
    return source
