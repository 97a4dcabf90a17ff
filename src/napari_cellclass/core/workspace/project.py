"""A project: ``NAME.cellproject`` with the folder ``NAME_project`` beside it, on disk at every moment."""

from __future__ import annotations

import itertools
from pathlib import Path

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.datasets.naming import safe_prefix
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.grid_layout import grid_key
from napari_cellclass.core.workspace import outputs
from napari_cellclass.core.workspace.project_fields import ProjectFields
from napari_cellclass.core.workspace.project_lock import ProjectBusyError
from napari_cellclass.core.workspace.records import MapRecord, ModelVersion, is_there

__all__ = ["Project", "ProjectBusyError"]


class Project(ProjectFields):
    """The fields, grid, classes, labels, models and maps of one piece of work, and where they are on disk.

    Labels are in a log before a call returns, see :class:`~napari_cellclass.core.workspace.labels.ProjectLabels`; every
    other change rewrites the file. What was finished in the folder before a crash, but is not in the file yet, is
    taken up when the project is opened.
    """

    # -- models ------------------------------------------------------------------------------------

    @property
    def models(self) -> tuple[ModelVersion, ...]:
        """The versions of the model, the newest last."""
        return self._content.models

    @property
    def newest_model(self) -> ModelVersion | None:
        """The newest version whose file is there, or None."""
        return next((one for one in reversed(self.models) if is_there(one.path)), None)

    def model_of(self, model_id: str) -> ModelVersion | None:
        """Give the version with this model id, or None."""
        return next((one for one in reversed(self.models) if one.model_id == model_id), None)

    def next_model_path(self) -> Path:
        """Return the path to train the next version to; :meth:`add_model` takes it up when it is finished."""
        known = [one.version for one in self.models]
        number = max([*known, *outputs.versions_in(self.models_folder).values()], default=0) + 1
        return outputs.model_path(self.models_folder, self.name, number)

    def add_model(self, path: Path) -> ModelVersion:
        """Take up a finished model as the next version; one that is listed already is given as it is.

        Parameters
        ----------
        path
            What :meth:`next_model_path` gave, or a model elsewhere, which stays there.

        Raises
        ------
        ModelError
            The file is missing or damaged.
        OutputError
            See :meth:`save`.
        """
        path = path.absolute()
        bundle = open_bundle(path)
        known = next((one for one in self.models if one.path == path and one.sha256 == bundle.sha256), None)
        if known is not None:
            return known
        others = tuple(one for one in self.models if one.path != path)
        number = outputs.versions_in(path.parent).get(path) if path.parent == self.models_folder else None
        taken = {one.version for one in others}
        version = number if number is not None and number not in taken else max(taken, default=0) + 1
        added = ModelVersion.of(bundle, version)
        self._change(models=tuple(sorted((*others, added), key=lambda one: one.version)))
        return added

    # -- maps --------------------------------------------------------------------------------------

    @property
    def maps(self) -> tuple[MapRecord, ...]:
        """The maps of all fields, the newest last."""
        return self._content.maps

    def maps_of(self, key: str) -> tuple[MapRecord, ...]:
        """Give the maps of a field whose files are there, the newest last."""
        return tuple(one for one in self.maps if one.field == key and is_there(one.path))

    def add_map(self, key: str, table: TileTable, model_id: str | None = None) -> MapRecord:
        """Write the predictions for a field as ``FIELD.tiles.csv``, in place of those for the same grid.

        Parameters
        ----------
        key
            The field's key.
        table
            Its tiles.
        model_id
            The model that made them; as the table's record says when None.

        Raises
        ------
        GridError
            The tiles lie off their grid.
        ParamsError
            The table does not say which model made it.
        OutputError
            See :meth:`save`.
        """
        field = self.field(key)
        named = model_id or (table.record.get("model") or {}).get("id")
        if not named:
            raise ParamsError(f"the map of {field.name} does not say which model made it; classify the field again")
        stem = self.map_stem(key, table.grid)
        record = outputs.write_map(self.maps_folder, stem, table, field, named)
        self._change(maps=(*(one for one in self.maps if one.path != record.path), record))
        return record

    def map_stem(self, key: str, grid: TileGrid) -> str:
        """Return what the files of a field's map are called, those of the map of the same grid where there is one.

        With :func:`~napari_cellclass.core.workspace.outputs.write_map` a map is written in another thread;
        :meth:`take_up_maps` then takes it up.
        """
        own = {one.path: one for one in self.maps if one.field == key and one.path.parent == self.maps_folder}
        named = grid_key(grid)
        path = next((path for path, one in own.items() if one.grid_key == named), None)
        if path is not None:
            return path.name.removesuffix(outputs.TABLE)
        plain = safe_prefix(Path(self.field(key).name).stem)[:100]
        taken = {one.path.name.removesuffix(outputs.TABLE).casefold() for one in self.maps}
        names = (f"{plain}_{number}" if number > 1 else plain for number in itertools.count(1))
        return next(name for name in names if name.casefold() not in taken)

    def take_up_maps(self) -> tuple[MapRecord, ...]:
        """Take up maps that were written to the folder of maps by ``classify``, and give them."""
        found, gone, _ = outputs.new_maps(self.maps_folder, self.fields, self.maps)
        replaced = {one.path for one in (*found, *gone)}
        if replaced:
            self._change(maps=(*(one for one in self.maps if one.path not in replaced), *found))
        return tuple(found)
