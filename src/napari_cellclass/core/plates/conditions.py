"""Which condition and replicate each field of a run belongs to: from a table of wells or images, or a project."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import pandas as pd

from napari_cellclass.core.common.csv_tables import find_column, read_table
from napari_cellclass.core.common.errors import DatasetError, ParamsError
from napari_cellclass.core.common.findings import counted, first_few
from napari_cellclass.core.common.names import clean_name, matching_names, split_path, stem_of
from napari_cellclass.core.plates.wells import Well, parse_well

_IMAGES = ("image", "path", "file", "filename", "field", "stem")
_WELLS = ("well",)
_CONDITIONS = ("condition", "treatment")
_REPLICATES = ("replicate", "repeat", "rep")
_WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".ods")


@dataclass(frozen=True)
class Assignment:
    """The condition and the replicate of a field; either is empty where it is not known."""

    condition: str = ""
    replicate: str = ""


NOTHING = Assignment()


@dataclass(frozen=True)
class ConditionList:
    """The conditions and replicates of wells and images.

    Parameters
    ----------
    wells, images
        By well, and by image as it is written in the file.
    stems
        By the stem of a field's tables; those of a project.
    path
        The file.
    """

    wells: Mapping[Well, Assignment] = field(default_factory=dict)
    images: Mapping[str, Assignment] = field(default_factory=dict)
    stems: Mapping[str, Assignment] = field(default_factory=dict)
    path: Path | None = None

    @property
    def order(self) -> tuple[str, ...]:
        """The conditions in the order of the table."""
        each = (*self.wells.values(), *self.images.values(), *self.stems.values())
        return tuple(dict.fromkeys(one.condition for one in each if one.condition))

    @classmethod
    def read(cls, path: Path) -> ConditionList:
        """Read a CSV with a column ``condition``, one of wells or images, and usually ``replicate``.

        An image is a path, a file name, or one without its suffix. A line without a condition is passed over. Of a
        line with both well and image the image counts.

        Raises
        ------
        DatasetError
            The file is missing or no such table, holds something that is no well, or gives a well or an image two
            conditions; says which line.
        """
        if path.suffix.lower() in _WORKBOOKS:
            raise DatasetError(f"{path} is a workbook of a spreadsheet; save it as CSV")
        frame = read_table(path)
        conditions = find_column(frame, _CONDITIONS, path, "a condition")
        places = [name for name in (*_IMAGES, *_WELLS) if name in frame.columns]
        if not places:
            find_column(frame, (*_WELLS, *_IMAGES), path, "a well or an image")
        replicates = next((name for name in _REPLICATES if name in frame.columns), None)
        wells: dict[Well, Assignment] = {}
        images: dict[str, Assignment] = {}
        for number, row in zip(frame.index + 2, frame.to_dict("records"), strict=True):
            place = next((name for name in places if row[name].strip()), None)
            condition = clean_name(row[conditions])
            if place is None or not condition:
                continue
            found = Assignment(condition, "" if replicates is None else clean_name(row[replicates]))
            if place in _WELLS:
                before = wells.setdefault(_well(row[place], path, number), found)
            else:
                before = images.setdefault("/".join(split_path(row[place])), found)
            if before != found:
                raise DatasetError(
                    f"{path}, line {number}: {row[place].strip()!r} was given another condition or replicate before; "
                    "keep one line"
                )
        return cls(wells, images, path=path)

    def assign(self, fields: pd.DataFrame) -> list[Assignment]:
        """Find the condition and replicate of each row of a table of fields; an image counts before its well."""
        listed: dict[str, list[str]] = {}
        for name in self.images:
            listed.setdefault(_key(name), []).append(name)
        return [
            self._of(image, stem, well, listed)
            for image, stem, well in zip(fields["image"], fields["stem"], fields["well"], strict=True)
        ]

    def _of(self, image: str, stem: str, well: str, listed: Mapping[str, Sequence[str]]) -> Assignment:
        if stem in self.stems:
            return self.stems[stem]
        for wanted in (image, stem):  # a stem may say which image of a file
            names = listed.get(_key(wanted), [])
            found = {self.images[names[i]] for i in matching_names(wanted, names)}
            if found:
                return found.pop() if len(found) == 1 else NOTHING
        parsed = parse_well(well)
        return NOTHING if parsed is None else self.wells.get(parsed, NOTHING)

    def check(self, fields: pd.DataFrame) -> None:
        """Raise :class:`ParamsError` where the table has a condition for none of the fields."""
        if self.path is None or any(one.condition for one in self.assign(fields)):
            return
        named = [*self.images, *(well.name for well in self.wells)]
        wells = [name for name in fields["well"] if name]
        first = PurePath(fields["image"].iloc[0]).name + (f" of well {wells[0]}" if wells else "")
        raise ParamsError(
            f"--conditions {self.path} names none of the fields (it names {(named or ['nothing'])[0]!r}, the first "
            f"field is {first}); write wells or file names"
        )

    def notes(self, fields: pd.DataFrame) -> tuple[str, ...]:
        """Say in a line each what has no condition, what has no replicate, and what is named but not there."""
        found = self.assign(fields)
        names = [well or stem for well, stem in zip(fields["well"], fields["stem"], strict=True)]
        without = _unique(name for name, one in zip(names, found, strict=True) if not one.condition)
        no_replicate = _unique(
            name for name, one in zip(names, found, strict=True) if one.condition and not one.replicate
        )
        unknown = self._unknown(fields)
        notes = []
        if without:
            notes.append(f"no condition is given for {first_few(without)}; left out of the comparison")
        if no_replicate:
            every = len(no_replicate) == len(_unique(n for n, one in zip(names, found, strict=True) if one.condition))
            which = "the fields" if every else first_few(no_replicate)
            notes.append(f"no replicate is given for {which}, so these count for no mean, interval or test")
        if unknown:
            notes.append(f"{counted(len(unknown), 'entry', 'entries')} of the conditions without a field: "
                         f"{first_few(unknown)}")  # fmt: skip
        return tuple(notes)

    def _unknown(self, fields: pd.DataFrame) -> list[str]:
        there = {parse_well(name) for name in fields["well"] if name}
        keys = {_key(name) for name in (*fields["image"], *fields["stem"])}
        absent = [well.name for well in self.wells if well not in there]
        return absent + [name for name in self.images if _key(name) not in keys]


def _well(text: str, path: Path, line: int) -> Well:
    well = parse_well(text)
    if well is None:
        raise DatasetError(f"{path}, line {line}: {text!r} is no well; write a letter and a number, e.g. B03")
    return well


def _key(name: str) -> str:
    return stem_of(name).casefold()


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def with_conditions(fields: pd.DataFrame, wells: pd.DataFrame, given: ConditionList) -> tuple[pd.DataFrame, ...]:
    """Add the columns condition and replicate to the tables of fields and wells; texts, empty where not known.

    A well whose fields have several of them has all, ``"a; b"``.

    Returns
    -------
    fields, wells : DataFrame
    """
    found = given.assign(fields)
    columns = {"condition": [one.condition for one in found], "replicate": [one.replicate for one in found]}
    fields, wells = fields.copy(), wells.copy()
    for name, values in columns.items():
        fields.insert(list(fields.columns).index("state"), name, values)
        by_well = fields.groupby("well")[name].agg(lambda texts: "; ".join(filter(None, dict.fromkeys(texts))))
        wells.insert(list(wells.columns).index("fields"), name, wells["well"].map(by_well).astype(object))
    return fields, wells
