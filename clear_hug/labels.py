"""labels.csv: what the records of a folder of one's own are known to have, in the words of a task.

A row a record. Columns, in any order and between commas, semicolons or tabs: `record`, a path below the
folder, with its suffix or without; `statements`, codes between blanks (in quotes also commas); and where
they are known `vocabulary` (SCP, SNOMED or a label set of one's own; else digits are SNOMED CT), `patient`,
`fold` (1 to 10), `age`, `sex`. A row without statements says that nothing is known of its record. Codes that
are none are refused, for a label that is mistyped would count as absent.

Label sets of one's own stand in a `tasks.json` beside it, `{"lvef": {"labels": {"LOW": "below 35 %"}}}`: then
`lvef` is a vocabulary, `LOW` a statement of it, and `none` says that a record is known to have no label.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clear_hug.tasks import NO_LABEL, TASKS, Task, TaskError, own_tasks

OWN = "labels.csv"
OWN_TASKS = "tasks.json"
VOCABULARIES = ("SCP", "SNOMED")
FOLDS = 10
_COLUMNS = ("record", "statements", "vocabulary", "patient", "fold", "age", "sex")
_FORMS = {
    "fold": rf"(({'|'.join(map(str, range(1, FOLDS + 1)))})(\.0)?)?",
    "age": r"(\d{1,3}(\.\d+)?)?",
    "sex": r"(?i:F|M|FEMALE|MALE)?",
}
_NOBODY = ("", "unknown", "none", "nan", "na", "n/a", "null", "?", "-")
_SCP = frozenset(TASKS["all"].labels)
_CODES = _SCP.union(*(of for task in TASKS.values() for of in task.statements.values()))


class LabelsError(ValueError):
    """A labels.csv that cannot be used, in a sentence."""


@dataclass(frozen=True)
class Told:
    """A row.

    statements : () where nothing is known
    vocabulary : SCP, SNOMED, a label set of one's own, or "" without statements
    fold : 1 to 10, of the record or of its patient elsewhere in the table, None where none is given
    patient, age, sex : as they are written, "" where they are not
    """

    statements: tuple[str, ...]
    vocabulary: str
    patient: str
    fold: int | None
    age: str
    sex: str


def is_own(path: Path) -> bool:
    """Whether a file is a labels.csv of these columns."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        first = _decoded(file.read(10_000)).splitlines()[:1]
    return bool(first) and {"record", "statements"} <= set(_heading(first[0])[0])


def read_labels(path: Path) -> dict[str, Told]:
    """Rows of a labels.csv by their record (see `key_of`).

    Raises
    ------
    LabelsError : a code, vocabulary or fold that is none, two rows of one record, a patient in two folds, or
        cells beyond the heading's, by line and value
    """
    own = read_tasks(path.parent)
    text = _decoded(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
    names, delimiter = _heading(text.split("\n", 1)[0])
    if twice := {name for name in names if name in _COLUMNS and names.count(name) > 1}:
        raise LabelsError(
            f"{path.name} has two columns {min(twice)}; statements stand in one, between blanks."
        )
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    told: dict[str, Told] = {}
    try:
        next(reader)
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                line = f"{path.name}, line {reader.line_num}"
                if any("\n" in cell for cell in cells):
                    raise LabelsError(f"{line}: a cell goes over several lines; is a quote not closed?")
                key, one = _row(line, names, cells, own)
                if key in told:
                    raise LabelsError(f"{line}: {key} stands twice; keep one row a record.")
                told[key] = one
    except csv.Error as error:
        raise LabelsError(f"{path.name}, line {reader.line_num}: {error}; is a quote not closed?") from None
    return _with_patients(path, told)


def read_tasks(folder: Path) -> dict[str, Task]:
    """The label sets of one's own of a folder, by name; {} where there is no tasks.json.

    Raises
    ------
    LabelsError : it cannot be used, with the reason
    """
    path = folder / OWN_TASKS
    if not path.is_file():
        return {}
    try:
        return own_tasks(json.loads(path.read_bytes(), object_pairs_hook=_each_once))
    except RecursionError:
        raise LabelsError(f"{OWN_TASKS}: objects within objects without end.") from None
    except ValueError as error:
        said = str(error) if isinstance(error, TaskError) else f"no JSON: {error}."
        raise LabelsError(f"{OWN_TASKS}: {said}") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, which would keep the last of two fields of one name."""
    names = [name for name, _ in pairs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise TaskError(f"{min(twice)!r} stands twice; keep one.")
    return dict(pairs)


def patient_told(name: str) -> str:
    """A patient's name, "" for a word that says there is none: all of these would be one patient."""
    return "" if name.strip().lower() in _NOBODY else name


def key_of(record: str) -> str:
    """A record's path as rows and files are held against each other: with / and a suffix in lower case."""
    base, suffix = os.path.splitext(record.strip().replace("\\", "/").removeprefix("./"))
    suffix = suffix.lower()
    return base + (".hea" if suffix in (".dat", ".mat") else suffix)


def row_of(told: Mapping[str, Any], record: str) -> str | None:
    """The key of the row that speaks for a file, a path below the folder; None where none does.

    Raises
    ------
    LabelsError : two rows do, one with its suffix and one without
    """
    key = key_of(record)
    found = [one for one in (key, os.path.splitext(key)[0]) if one in told]
    if len(found) > 1:
        raise LabelsError(f"{OWN}: {found[0]} and {found[1]} are one record; keep one row of it.")
    return found[0] if found else None


def _decoded(content: bytes) -> str:
    """Text, as Excel may save it."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _heading(line: str) -> tuple[list[str], str]:
    """Names of the columns in lower case, and what stands between them."""
    delimiter = max(",;\t", key=line.count)
    return [cell.strip().strip('"').lower() for cell in line.split(delimiter)], delimiter


def _row(line: str, names: list[str], cells: list[str], own: Mapping[str, Task]) -> tuple[str, Told]:
    if len(cells) > len(names) and any(cells[len(names) :]):
        raise LabelsError(f"{line}: more cells than columns; statements between commas need quotes.")
    by_name = dict(zip(names, cells, strict=False))
    value = {name: by_name.get(name, "") for name in _COLUMNS}
    if not value["record"]:
        raise LabelsError(f"{line}: no record; expected a path below the folder.")
    codes = re.findall(r"[^\s,;'\"\[\]]+", value["statements"])
    vocabulary = _vocabulary(line, value["vocabulary"], codes, own)
    if vocabulary in own:
        _check_own(line, own[vocabulary], codes)
    for code in codes:
        if vocabulary == "SCP" and code not in _SCP:
            raise LabelsError(
                f"{line}: {code!r} is no statement in SCP; expected those of PTB-XL's scp_statements.csv, "
                "such as NORM."
            )
        if vocabulary == "SNOMED" and not is_snomed(code):
            raise LabelsError(f"{line}: {code!r} is no SNOMED CT code: its check digit is not right.")
    fit = {name: bool(re.fullmatch(form, value[name])) for name, form in _FORMS.items()}
    in_place = ("record", "statements", "vocabulary", *(name for name in fit if fit[name]))
    others = [cell for name, cell in by_name.items() if name not in in_place]
    if strange := [cell for cell in others if cell in _CODES.union(*(task.labels for task in own.values()))]:
        raise LabelsError(f"{line}: {strange[0]} is a statement; statements between commas need quotes.")
    if not fit["sex"]:
        raise LabelsError(f"{line}: sex {value['sex']!r}; expected F or M, or nothing.")
    if not fit["age"]:
        raise LabelsError(f"{line}: age {value['age']!r}; expected years, or nothing.")
    fold = value["fold"].removesuffix(".0")
    if not fit["fold"]:
        raise LabelsError(f"{line}: fold {fold!r}; expected 1 to {FOLDS}, or nothing.")
    patient = patient_told(value["patient"].removesuffix(".0"))
    said = vocabulary if codes else ""
    told = Told(tuple(codes), said, patient, int(fold) if fold else None, value["age"], value["sex"])
    return key_of(value["record"]), told


def _vocabulary(line: str, said: str, codes: list[str], own: Mapping[str, Task]) -> str:
    """In what a row's statements are told."""
    if not said and own:
        if codes:
            known = ", ".join((*VOCABULARIES, *own))
            raise LabelsError(f"{line}: no vocabulary; where a {OWN_TASKS} stands, name one of {known}.")
        return ""
    if said in own:
        return said
    vocabulary = said.upper() or ("SNOMED" if all(map(str.isdigit, codes)) else "SCP")
    if vocabulary not in VOCABULARIES:
        expected = " or ".join((*VOCABULARIES, *own))
        way = "" if own else f", or a label set of one's own in a {OWN_TASKS}"
        raise LabelsError(f"{line}: vocabulary {said!r}; expected {expected}{way}.")
    return vocabulary


def _check_own(line: str, task: Task, codes: list[str]) -> None:
    """Refuse codes that a label set of one's own does not have."""
    if strange := [code for code in codes if code not in (*task.labels, NO_LABEL)]:
        expected = ", ".join((*task.labels, NO_LABEL))
        raise LabelsError(f"{line}: {strange[0]!r} is no label of {task.name}; expected {expected}.")
    if NO_LABEL in codes and len(codes) > 1:
        raise LabelsError(f"{line}: {NO_LABEL!r} beside {codes[0]}; a record has labels or none.")


def _with_patients(path: Path, told: dict[str, Told]) -> dict[str, Told]:
    """A patient's fold for all records of the patient."""
    folds: dict[str, int] = {}
    for one in told.values():
        if one.patient and one.fold and folds.setdefault(one.patient, one.fold) != one.fold:
            raise LabelsError(
                f"{path.name}: patient {one.patient} stands in folds {folds[one.patient]} and {one.fold}; "
                "what is judged would have been learned from."
            )
    return {key: replace(one, fold=one.fold or folds.get(one.patient)) for key, one in told.items()}


# Verhoeff's check digit, which ends every SNOMED CT identifier

_TIMES = [
    [(a + b) % 5 + 5 * (b // 5) if a < 5 else (a - b) % 5 + 5 * (b < 5) for b in range(10)] for a in range(10)
]
_SHIFT = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def is_snomed(code: str) -> bool:
    """Whether a text is an identifier of SNOMED CT: 6 to 18 digits, of which the last checks the others."""
    if not re.fullmatch(r"[1-9][0-9]{5,17}", code):
        return False
    check = 0
    for i, digit in enumerate(reversed(code)):
        value = int(digit)
        for _ in range(i % 8):
            value = _SHIFT[value]
        check = _TIMES[check][value]
    return check == 0
