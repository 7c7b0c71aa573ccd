"""Which records a data set holds, by its published layout, and what it says of each.

`list_records(folder)` gives a table with a row a record, `read_record` reads one. A layout is found by
what lies in the folder (`LAYOUTS`); any other folder of readable ECGs is read file by file, with the labels
of a `labels.csv` of one's own (`labels.py`). What a WFDB header says of its record (`# Dx: 426783006,...`,
`# Patient ID: ...`) is learned when it is read.
What the same sets say of a single file is `known.py`'s.

PTB-XL's folds are its own. Elsewhere the patients of records with labels to learn (SNOMED codes) are
dealt to ten folds by a hash of their name, so that every run, rank and machine agrees; a record whose
patient is unknown counts as a patient. Records without such labels have no fold (0): there is nothing to
judge on them, and pre-training reads them all (but see `Corpus.fold` of a recording in several sets, and of
a patient who has others with labels).
"""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clear_hug.ecg import ECG, ECGError, ecg_from_leads
from clear_hug.io import find_records, read_ecg
from clear_hug.labels import (
    FOLDS,
    OWN,
    LabelsError,
    Told,
    is_own,
    is_snomed,
    patient_told,
    read_labels,
    row_of,
)
from clear_hug.leads import LEADS
from clear_hug.tasks import LUDB, REPORT, UNTOLD


class ArraySet(NamedTuple):
    """How a signals.npz at hand is to be read: its key `signals` (record, lead, sample) int16.

    fs : Hz;  per_mv : counts a mV, None where it is unknown;  leads : of its rows, which no file names
    """

    fs: float
    per_mv: float | None
    leads: tuple[str, ...] = LEADS


# The Challenge of 2011 writes aVF before aVL: with the others' order Goldberger's identities are broken.
ARRAYS: dict[str, ArraySet] = {
    "ptbxl_normalized": ArraySet(100.0, None),
    "cinc2011": ArraySet(500.0, 200.0, (*LEADS[:4], "aVF", "aVL", *LEADS[6:])),
    "cinc2025_chagas": ArraySet(100.0, 1000.0),
    "brugada_huca": ArraySet(100.0, 1000.0),
}
ARRAY_ABSENT = -32768  # int16 that marks "no sample"
NO_FOLD, BY_PATIENT = 0, -1
LUDB_TABLE = "ludb.csv"

# CPSC2018's REFERENCE.csv numbers its labels; the challenges write the same ones as SNOMED CT codes.
CPSC2018_CODES = {"1": "426783006", "2": "164889003", "3": "270492004", "4": "164909002", "5": "59118001",
                  "6": "284470004", "7": "164884008", "8": "429622005", "9": "164931005"}  # fmt: skip
CPSC2018_FS = 500.0  # Hz


class CorpusError(ValueError):
    """A data set or shard that cannot be used, in a sentence."""


@dataclass(frozen=True)
class Item:
    """A record to be read, and what its data set says of it.

    Attributes
    ----------
    record : source/name, unique
    layout : key of `LAYOUTS`
    where : path below the folder, or row of an array
    fold : 1 to 10, NO_FOLD, or BY_PATIENT
    patient : "" where unknown
    age : years, NaN where unknown;  sex : "F", "M" or ""
    statements : JSON list, or "" for a record without labels
    vocabulary : what they are written in (SCP, SNOMED, LUDB, report)
    """

    record: str
    layout: str
    where: str
    fold: int = NO_FOLD
    patient: str = ""
    age: float = float("nan")
    sex: str = ""
    statements: str = ""
    vocabulary: str = ""


@dataclass(frozen=True)
class Layout:
    """How a data set is published.

    Attributes
    ----------
    found : (folder) -> bool
    table : (folder) -> the fields of `Item` by column; fields left out take their defaults
    read : (folder, item) -> the ECG, and the item with what its file adds; of those in FILES also what
        `read_ecg` may be told, by name
    """

    found: Callable[[Path], bool]
    table: Callable[[Path], Mapping[str, Iterable[Any]]]
    read: Callable[..., tuple[ECG, Item]]


def list_records(folder: Path) -> pd.DataFrame:
    """A row a record of a data set, columns as `Item` has them.

    Raises
    ------
    CorpusError : no record, two records of one name, a table that contradicts its arrays, or a published data
        set further down, or PTB-XL or CPSC2018 above, whose labels, patients and folds would be lost
    """
    folder = Path(os.path.abspath(folder))  # names and folds follow from it, however it is typed
    if not folder.is_dir():
        raise CorpusError(f"{folder} is no folder; name a data set's folder.")
    name = layout_of(folder)
    names = [name, "files"] if name == "array" else [name]  # files may lie beside an array
    try:
        table = pd.concat([table_of(folder, name) for name in names], ignore_index=True)
    except CorpusError:
        raise
    except LabelsError as error:
        raise CorpusError(str(error)) from None
    except Exception as error:  # a table may hold anything
        raise CorpusError(
            f"{folder} looks like {name}, but its tables cannot be read ({in_words(error)}); mend or fetch "
            "them anew."
        ) from error
    if not len(table):
        raise CorpusError(f"{folder} holds no ECG that can be read.")
    if name == "files" and (sets := _published_around(folder, table["where"])):
        raise CorpusError(
            f"{folder} would be read file by file, without the labels, patients and folds that its published "
            f"data set tells beside the files: name {' and '.join(map(str, sets))} as the source instead."
        )
    if name == "cpsc2018" and (others := _beside_cpsc(folder)):
        theirs = " and ".join(str(path.parent) for path in _references(folder))
        raise CorpusError(
            f"{folder} holds more than CPSC2018, such as {others[0].relative_to(folder)}, which would be "
            f"read as part of it or not at all: name {theirs} and the folders of the others as sources."
        )
    if (twice := table["record"].duplicated()).any():
        raise CorpusError(f"{folder} holds two records named {table['record'][twice].iloc[0]}; keep one.")
    return table


def _published_around(folder: Path, where: Iterable[str]) -> list[Path]:
    """Folders of published data sets that files, by their paths below a folder, lie in."""
    inner = {above for path in where for above in Path(path).parents} - {Path()}
    below = sorted(folder / one for one in inner if any(found(folder / one) for found in _PUBLISHED))
    above = dict.fromkeys((*folder.parents, *folder.resolve().parents))
    return below or [one for one in above if _is_part(folder, one)][:1]


def _is_part(folder: Path, above: Path) -> bool:
    """The folder is one of PTB-XL's records, or of CPSC2018, whose tables lie above it."""
    parts = {path.relative_to(above).parts[0] for path in (folder, folder.resolve()) if above in path.parents}
    is_ptbxl = LAYOUTS["ptbxl"].found(above) and bool(parts & {"records100", "records500"})
    return is_ptbxl or is_reference(above / "REFERENCE.csv")


def _beside_cpsc(folder: Path) -> list[Path]:
    """ECG files of other names than CPSC2018's below a folder whose subfolders alone hold its tables."""
    if is_reference(folder / "REFERENCE.csv"):
        return []
    return [path for path in _paths(folder) if not re.fullmatch("A[0-9]{4}", path.stem)]


def set_name(folder: Path) -> str:
    """What a data set is called: its folder, or the one above where that is named by a version."""
    folder = Path(os.path.abspath(folder))
    version = re.fullmatch(r"v?\d+(\.\d+)+", folder.name)
    return (folder.parent.name if version else "") or folder.name


def in_words(error: Exception) -> str:
    """An error in a line; a missing column or key is named as such."""
    if isinstance(error, CorpusError | LabelsError):
        return str(error).rstrip(".")
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def read_record(folder: Path, item: Item, **told: Any) -> tuple[ECG, Item]:
    """One record, and all that is known of it: its fold from 1 to 10 (0 without), its patient by name.

    told : what the caller says of a file, as `read_ecg` takes it; of the layouts in FILES alone

    Raises
    ------
    ECGError, OSError : it cannot be read
    """
    ecg, item = LAYOUTS[item.layout].read(folder, item, **told)
    patient = item.patient or item.record
    fold = fold_of(patient) if item.fold == BY_PATIENT else item.fold
    return ecg, replace(item, patient=patient, fold=fold)


def layout_of(folder: Path) -> str:
    """The layout that a folder is read by."""
    return next(name for name, layout in LAYOUTS.items() if layout.found(folder))


def is_reference(path: Path) -> bool:
    """A REFERENCE.csv of CPSC2018."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as f:
        return f.readline().startswith("Recording,First_label")


def fold_of(patient: str) -> int:
    """1 to 10, from the patient's name alone."""
    return 1 + int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8]) % FOLDS


def table_of(folder: Path, layout: str) -> pd.DataFrame:
    columns = {key: list(values) for key, values in LAYOUTS[layout].table(folder).items()}
    table = pd.DataFrame({**columns, "layout": layout})
    for name, column in Item.__dataclass_fields__.items():
        if name not in table:
            table[name] = column.default
    return table[list(Item.__dataclass_fields__)]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as f:
        return list(csv.DictReader(f))


# PTB-XL: ptbxl_database.csv, records500/ or records100/


def ptbxl_facts(rows: list[dict[str, str]]) -> dict[str, list[Any]]:
    patients = [(row.get("patient_id") or "").split(".")[0] for row in rows]
    return {
        "record": [f"ptbxl/{row['ecg_id']}" for row in rows],
        "fold": [int(float(row["strat_fold"])) for row in rows],
        "patient": [f"ptbxl-{patient}" if patient else "" for patient in patients],
        "age": [age_of(row.get("age")) for row in rows],
        "sex": [{"0": "M", "1": "F"}.get((row.get("sex") or "").split(".")[0], "") for row in rows],
        "statements": [json.dumps(list(ast.literal_eval(row["scp_codes"]))) for row in rows],
        "vocabulary": ["SCP"] * len(rows),
    }


def _ptbxl_table(folder: Path) -> dict[str, list[Any]]:
    rows = rows_of(folder / "ptbxl_database.csv")

    def where(row: dict[str, str]) -> str:
        names = [f"{row[column]}.hea" for column in ("filename_hr", "filename_lr")]
        return next((name for name in names if (folder / name).exists()), names[0])

    return {**ptbxl_facts(rows), "where": [where(row) for row in rows]}


def _ptbxl_read(folder: Path, item: Item) -> tuple[ECG, Item]:
    return replace(read_ecg(folder / item.where), age=or_none(item.age), sex=item.sex or None), item


# Arrays: signals.npz beside ptbxl_database.csv (labels and folds) or index.csv


def _array_table(folder: Path) -> dict[str, list[Any]]:
    if folder.name not in ARRAYS:
        raise CorpusError(f"{folder.name}: fs and unit of signals.npz are unknown; add them to ARRAYS.")
    labels = folder / "ptbxl_database.csv"
    rows = rows_of(labels if labels.exists() else folder / "index.csv")
    if labels.exists():
        columns = ptbxl_facts(rows)
    else:  # an index may also name records that lie beside the array as files of their own
        rows = [row for row in rows if not (folder / f"{row['record']}.hea").exists()]
        columns = {
            "record": [f"{folder.name}/{row['record']}" for row in rows],
            "age": [age_of(row.get("age")) for row in rows],
            "sex": [sex_of(row.get("sex")) for row in rows],
        }
    n = len(_signals(folder))
    if len(rows) != n:
        raise CorpusError(f"{folder.name}: its table names {len(rows)} records, signals.npz holds {n}.")
    return {**columns, "where": [str(i) for i in range(n)]}


_loaded: dict[Path, NDArray[np.int16]] = {}


def _signals(folder: Path) -> NDArray[np.int16]:
    """The array of a folder, read once a process."""
    if folder not in _loaded:
        _loaded.clear()
        _loaded[folder] = np.load(folder / "signals.npz", allow_pickle=False)["signals"]
    return _loaded[folder]


def _array_read(folder: Path, item: Item) -> tuple[ECG, Item]:
    fs, per_mv, leads = ARRAYS[folder.name]
    counts = _signals(folder)[int(item.where)][[leads.index(lead) for lead in LEADS]]
    signal = np.where(counts == ARRAY_ABSENT, np.float32(np.nan), counts.astype(np.float32))
    there = np.flatnonzero(np.isfinite(signal).any(axis=0))
    signal = signal[:, : there[-1] + 1] if there.size else signal
    ecg = ECG(
        (signal / np.float32(per_mv or 200.0)).astype(np.float32),
        fs,
        item.record.split("/", 1)[1],
        units_known=per_mv is not None,
        age=or_none(item.age),
        sex=item.sex or None,
    )
    return ecg, item


# CPSC2018 as its organisers published it: REFERENCE.csv, A0001.mat (a struct of sex, age and data in mV)


def _references(folder: Path) -> list[Path]:
    found = sorted([*folder.glob("REFERENCE.csv"), *folder.glob("*/REFERENCE.csv")])
    return [path for path in found if is_reference(path)]


def _cpsc_table(folder: Path) -> dict[str, list[Any]]:
    paths = sorted(folder.rglob("*.mat"))
    files = {path.stem: path.relative_to(folder).as_posix() for path in paths}
    if len(files) < len(paths):
        twice = next(path for path in paths if files[path.stem] != path.relative_to(folder).as_posix())
        raise CorpusError(
            f"{folder} holds two records named {twice.stem}, {twice.relative_to(folder)} and "
            f"{files[twice.stem]}: whose labels are they? Name the folder of each as a source of its own, or "
            "keep one."
        )
    told: dict[str, str] = {}
    for reference in _references(folder):
        for row in rows_of(reference):
            cells = [(row.get(f"{n}_label") or "").strip() for n in ("First", "Second", "Third")]
            numbers = [cell.removesuffix(".0") for cell in cells if cell not in ("", "NaN")]
            if unknown := set(numbers) - set(CPSC2018_CODES):
                raise CorpusError(
                    f"{reference}: label {unknown.pop()} of {row['Recording']}; expected 1 to 9."
                )
            said = json.dumps([CPSC2018_CODES[number] for number in numbers])
            if told.setdefault(row["Recording"], said) != said:
                raise CorpusError(
                    f"{row['Recording']} has two sets of labels in {folder}; keep one REFERENCE.csv."
                )
    names = sorted({*told, *files})
    return {
        "record": [f"cpsc2018/{name}" for name in names],
        "where": [files.get(name, f"{name}.mat") for name in names],
        "statements": [told.get(name, "") for name in names],
        "vocabulary": ["SNOMED" if name in told else "" for name in names],
        "fold": [BY_PATIENT if name in told else NO_FOLD for name in names],
    }


def _cpsc_read(folder: Path, item: Item) -> tuple[ECG, Item]:
    from scipy.io import loadmat

    path = folder / item.where
    if path.with_suffix(".hea").exists():
        return _file_read(folder, item)
    if not path.exists():
        raise ECGError(f"{path.name} does not exist.")
    try:
        struct = loadmat(path, simplify_cells=True)["ECG"]
        leads = dict(zip(LEADS, np.asarray(struct["data"], dtype=np.float32), strict=True))
        age, sex = age_of(str(struct["age"])), sex_of(struct["sex"])
    except Exception as error:  # of many kinds: the file may be anything
        raise ECGError(f"{path.name} is not a record of CPSC2018 ({type(error).__name__}).") from error
    ecg = ecg_from_leads(
        leads, CPSC2018_FS, record_id=path.stem, source="CPSC2018", age=or_none(age), sex=sex or None
    )
    return ecg, item


# Chapman-Shaoxing-Ningbo: WFDBRecords/01/010/JS00001.hea, its codes in the headers


def _csn_table(folder: Path) -> dict[str, list[Any]]:
    paths = _paths(folder)
    return {"record": [f"csn/{path.stem}" for path in paths], "where": _below(folder, paths)}


# MIMIC-IV-ECG: record_list.csv, machine_measurements.csv (the device's report), files/p1000/.../N.hea


def _mimic_table(folder: Path) -> dict[str, Iterable[Any]]:
    records = pd.read_csv(folder / "record_list.csv", usecols=["subject_id", "study_id", "path"], dtype=str)
    records = records.fillna("")
    columns = {
        "record": "mimic/" + records["study_id"],
        "where": records["path"] + ".hea",
        "patient": "mimic-" + records["subject_id"],
    }
    measurements = folder / "machine_measurements.csv"
    if not measurements.exists():
        return columns
    reports = pd.read_csv(
        measurements, usecols=lambda name: name == "study_id" or name.startswith("report_"), dtype=str
    ).drop_duplicates("study_id")
    lines = reports.drop(columns="study_id").to_numpy(dtype=object)
    told = pd.Series(
        [json.dumps([line for line in row if isinstance(line, str)]) for row in lines], reports["study_id"]
    )
    statements = records["study_id"].map(told).fillna("")
    return {**columns, "statements": statements, "vocabulary": np.where(statements == "", "", REPORT)}


# LUDB: ludb.csv (diagnoses in words, a line each), data/1.hea


def _ludb_table(folder: Path) -> dict[str, list[Any]]:
    """The files of the folder with the lines of ludb.csv, "column: line" in lower case."""
    told: dict[str, str] = {}
    for row in rows_of(folder / LUDB_TABLE):
        cells = {key.strip(): value or "" for key, value in row.items()}
        lines = (
            f"{column}: {line.strip()}".lower()
            for column, cell in cells.items()
            if column not in ("ID", "Sex", "Age")
            for line in cell.splitlines()
            if line.strip()
        )
        told[cells["ID"].strip()] = json.dumps(list(lines))
    paths = [path for path in _paths(folder) if path.name != LUDB_TABLE]
    said = [told.get(path.stem, "") if path.parent.name == "data" else "" for path in paths]
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in paths]
    return {
        "record": [f"ludb/{name}" for name in names],
        "where": _below(folder, paths),
        "statements": said,
        "vocabulary": [LUDB if one else "" for one in said],
    }


# Any folder of readable ECGs


def _files_table(folder: Path, without: str = "") -> dict[str, list[Any]]:
    paths = [path for path in _paths(folder) if path.name != without]
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in paths]
    return {"record": [f"{set_name(folder)}/{name}" for name in names], "where": _below(folder, paths)}


def _file_read(folder: Path, item: Item, **told: Any) -> tuple[ECG, Item]:
    path = folder / item.where
    ecg = read_ecg(path, **told)
    notes = header_notes(path.with_suffix(".hea"))
    patient = patient_told(notes.get("patient id", ""))
    if not item.patient and patient:
        item = replace(item, patient=f"{set_name(folder)}-{patient}")
    codes = codes_of(notes)
    if not item.statements and codes and item.vocabulary != UNTOLD:
        item = replace(item, statements=json.dumps(codes), vocabulary="SNOMED", fold=BY_PATIENT)
    if strange := [word for word in _words_of(notes) if not is_snomed(word)]:
        said = f'Dx in the header holds "{strange[0][:30]}", which is no SNOMED CT code: a label may be lost.'
        ecg = replace(ecg, warnings=(*ecg.warnings, said))
    return ecg, item


# The same with labels of one's own beside the files


def own_facts(folder: Path, told: Told) -> dict[str, Any]:
    """Fields of `Item` as a row of labels.csv says them."""
    fold = told.fold or (BY_PATIENT if told.statements else NO_FOLD)
    return {
        "fold": fold, "patient": f"{set_name(folder)}-{told.patient}" if told.patient else "",
        "age": age_of(told.age), "sex": sex_of(told.sex),
        "statements": json.dumps(told.statements) if told.statements else "",
        "vocabulary": told.vocabulary or UNTOLD,
    }  # fmt: skip


def _own_table(folder: Path) -> dict[str, list[Any]]:
    """The files of the folder with what its labels.csv says, and the rows of it that no file is there for."""
    told = read_labels(folder / OWN)
    files = _files_table(folder, without=OWN)
    keys = [row_of(told, where) for where in files["where"]]
    named = set(keys)
    missing = [key for key in told if key not in named]
    rows = [own_facts(folder, told[key]) if key else {} for key in (*keys, *missing)]
    fields = ("fold", "patient", "age", "sex", "statements", "vocabulary")
    return {
        "record": [*files["record"], *(f"{set_name(folder)}/{key}" for key in missing)],
        "where": [*files["where"], *missing],
        **{key: [row.get(key, Item.__dataclass_fields__[key].default) for row in rows] for key in fields},
    }


def _own_read(folder: Path, item: Item, **told: Any) -> tuple[ECG, Item]:
    ecg, item = _file_read(folder, item, **told)
    age, sex = (or_none(item.age) if ecg.age is None else ecg.age), ecg.sex or item.sex or None
    return replace(ecg, age=age, sex=sex), item


def codes_of(notes: Mapping[str, str]) -> list[str]:
    """SNOMED CT codes of a challenge header."""
    return [word for word in _words_of(notes) if word.isdigit()]


def _words_of(notes: Mapping[str, str]) -> list[str]:
    """What stands under Dx, between commas, semicolons or blanks; [] for "Unknown"."""
    words = [word for word in re.split(r"[,;\s]+", notes.get("dx", "")) if word]
    return [] if [word.lower() for word in words] == ["unknown"] else words


def header_notes(path: Path) -> dict[str, str]:
    """The comments of a WFDB header, `# Key: value`, by key in lower case; {} without a header."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    return {key.lower(): value for key, value in re.findall(r"(?m)^#\s*([\w ]+?)\s*:[ \t]*(.*?)\s*$", text)}


def _paths(folder: Path) -> list[Path]:
    return find_records(folder, limit=10**9)


def _below(folder: Path, paths: list[Path]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def age_of(value: str | None) -> float:
    """Years or NaN, as below 0; PTB-XL writes 300 for "above 89"."""
    try:
        age = float(value or "nan")
    except ValueError:
        return float("nan")
    return 90.0 if age > 120 else age if age >= 0 else float("nan")


def sex_of(value: Any) -> str:
    return {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M"}.get(str(value).strip().upper(), "")


def or_none(age: float) -> float | None:
    return None if np.isnan(age) else float(age)


def _holds(*names: str) -> Callable[[Path], bool]:
    return lambda folder: all((folder / name).exists() for name in names)


LAYOUTS: dict[str, Layout] = {
    "ptbxl_array": Layout(_holds("signals.npz", "ptbxl_database.csv"), _array_table, _array_read),
    "array": Layout(_holds("signals.npz"), _array_table, _array_read),
    "ptbxl": Layout(_holds("ptbxl_database.csv"), _ptbxl_table, _ptbxl_read),
    "mimic": Layout(_holds("record_list.csv"), _mimic_table, _file_read),
    "csn": Layout(_holds("ConditionNames_SNOMED-CT.csv"), _csn_table, _file_read),
    "cpsc2018": Layout(lambda folder: bool(_references(folder)), _cpsc_table, _cpsc_read),
    "ludb": Layout(_holds(LUDB_TABLE, "data"), _ludb_table, _file_read),
    "own": Layout(lambda folder: is_own(folder / OWN), _own_table, _own_read),
    "files": Layout(lambda folder: True, _files_table, _file_read),
}
"""Layout -> how it is read; the first found in a folder is taken."""

_PUBLISHED = (
    LAYOUTS["ptbxl"].found, lambda folder: is_reference(folder / "REFERENCE.csv"),
    _holds("record_list.csv", "files"), LAYOUTS["csn"].found, LAYOUTS["ludb"].found,
)  # fmt: skip
FILES = ("own", "files")  # of ECG files that nobody published: what they do not say may be told
