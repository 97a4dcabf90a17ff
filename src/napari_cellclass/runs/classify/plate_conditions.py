"""The conditions of a run: read before the first field is classified, compared when its tables are made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.params.classify import ClassifyParams
from napari_cellclass.core.plates.condition_results import ConditionResults, choose_control, compare_conditions
from napari_cellclass.core.plates.conditions import ConditionList, with_conditions
from napari_cellclass.core.plates.inputs import CONDITION_FILES, FIELD_TABLE, WELL_TABLE
from napari_cellclass.core.workspace.project_file import is_project
from napari_cellclass.runs.common.project_data import project_conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, eq=False)
class PlateConditions:
    """The conditions of a run, checked.

    Parameters
    ----------
    given
        Of wells, images or a project's fields.
    control
        What the other conditions are compared with.
    """

    given: ConditionList
    control: str

    @classmethod
    def of(cls, params: ClassifyParams, fields: Callable[[], pd.DataFrame]) -> PlateConditions | None:
        """Read the conditions that the parameters name, else those of a project; None where there are none.

        Parameters
        ----------
        params
            As of the command line.
        fields
            Makes the table of the fields, none of which need be done.

        Raises
        ------
        DatasetError
            The file of conditions cannot be read.
        ParamsError
            It names none of the fields, lies where the run's own tables will be, or lacks the control.
        """
        if params.conditions is not None:
            _check_place(params.conditions, params.out)
            given = ConditionList.read(params.conditions)
        elif is_project(params.images[0]):
            given = project_conditions(params.images[0])
        else:
            given = ConditionList()
        if params.conditions is None and not given.order:
            if params.control is not None:
                raise ParamsError(f"--control {params.control!r} belongs to conditions; give them with --conditions")
            return None
        if given.order:
            given.check(fields())
        return cls(given, choose_control(given.order, params.control))

    def tables(self, fields: pd.DataFrame, wells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Add the columns condition and replicate to the tables of a plate."""
        return with_conditions(fields, wells, self.given)

    def compare(self, fields: pd.DataFrame, classes: Sequence[str]) -> ConditionResults | None:
        """Compare the conditions of a table of fields that has these columns; None where no such field is done."""
        return compare_conditions(fields, classes, self.given.order, self.control)


def _check_place(path: Path, out: Path) -> None:
    if path.resolve() in {(out / name).resolve() for name in (FIELD_TABLE, WELL_TABLE, *CONDITION_FILES)}:
        raise ParamsError(f"--conditions {path} would be written over by the run's own table; rename it")
