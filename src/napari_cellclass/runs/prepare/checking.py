"""Check a data set as the parameters of ``check`` say."""

from __future__ import annotations

from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.params.prepare import CheckParams
from napari_cellclass.core.quality.dataset_check import DataReport, check_folder
from napari_cellclass.core.workspace.project_file import is_project
from napari_cellclass.runs.common.dataset_opening import grid_maker, image_reader
from napari_cellclass.runs.common.project_data import open_dataset


def check_data(params: CheckParams, task: Task = NO_TASK) -> DataReport:
    """Check class folders, a list of tiles or a project.

    See :func:`~napari_cellclass.core.quality.dataset_check.check_folder`.

    Raises
    ------
    DatasetError, ParamsError
        See there.
    CancelledError
        The task was cancelled.
    """
    opener = open_dataset if is_project(params.data) else None
    return check_folder(params.data, grid_maker(params), params.group_by, image_reader(params), task, open_data=opener)
