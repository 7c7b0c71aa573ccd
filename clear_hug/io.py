"""Files in, one standard value out: mV, Hz, twelve named leads. The only place that converts units.

Who reads what, and why:

- WFDB is read by wfdb: ecgdatakit rounds a sampling rate to a whole number, keeps WFDB's "invalid
  sample" codes as numbers and refuses headers that the PhysioNet challenges publish.
- CSV and CardioSoft XML (UK Biobank) are read here, since neither library knows them.
- All other formats are read by ecgdatakit. Its samples were compared with the raw files for DICOM,
  EDF, GE MUSE, HL7 aECG, Philips Sierra and SCP-ECG; the others rest on ecgdatakit's word.

What names a patient (name, id, birth date, place) is never taken over: `record_id` is the file's
stem. Odd things are said in `ECG.warnings`, not mended in silence.
"""

from __future__ import annotations

import io
import math
import os
import re
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import ECG, MAX_FS, MIN_FS, ECGError, ecg_from_leads
from clear_hug.leads import LEADS, canonical_lead

MAX_VALUES = 60_000_000  # samples x channels; an hour of twelve leads at 1000 Hz is 43 million
MAX_BYTES = 250_000_000  # of a file, and of an upload unpacked
MAX_FILES = 50_000
MIN_SECONDS = 1.0  # shorter than one beat at 60/min is not an ECG to read
HIGH_MV = 20.0  # no heart deflects a surface lead further from its own median
LOW_MV = 0.5  # nor do all leads at once stay within this span, but for the rarest low voltage
SAME_SPAN = 1e-3  # leads whose spans (or SDs) agree to this were each scaled to their own
RESTING_SECONDS = 10.0  # the length of a standard resting ECG

_HEAD_BYTES = 4096
_MILLIVOLT = {"nv": 1e-6, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "mv": 1.0, "v": 1e3,
              "microvolt": 1e-3, "microvolts": 1e-3, "millivolt": 1.0, "millivolts": 1.0}  # fmt: skip
_USUAL_RATES = (100, 125, 128, 200, 240, 250, 256, 300, 360, 400, 500, 512, 1000, 2000)  # Hz


@dataclass(frozen=True)
class Reader:
    """One file format.

    Attributes
    ----------
    read : (path) -> _Recording, in the units the file states
    extensions : what such files are called, for the uploader and for `find_records`
    recognise : (path, first 4 kB) -> bool, by content where a format has a signature
    """

    read: Callable[[Path], _Recording]
    extensions: tuple[str, ...]
    recognise: Callable[[Path, bytes], bool]


@dataclass(frozen=True, eq=False)
class _Channel:
    name: str
    samples: NDArray[Any]  # in `unit`
    fs: float | None  # Hz; None where the file does not say
    unit: str  # as the file writes it; "" where it does not say


@dataclass(frozen=True, eq=False)
class _Recording:
    source: str
    channels: list[_Channel]
    age: float | None = None
    sex: str | None = None
    warnings: tuple[str, ...] = ()


def read_ecg(path: str | os.PathLike[str], *, fs: float | None = None, unit: str | None = None) -> ECG:
    """Read one ECG file of any known format.

    Parameters
    ----------
    path : for WFDB the header, or its .dat or .mat; the other file lies beside it
    fs : Hz, for a file that does not say (CSV); overrides a file that does, with a warning
    unit : "mV", "uV" or "V", for a file that does not say

    Returns
    -------
    ECG : signal (12, sample) float32 in mV, missing limb leads derived, other missing leads NaN

    Raises
    ------
    ECGError : no ECG that can be read, in one sentence that names the file but not its folder
    """
    path = Path(path)
    if unit is not None and _millivolt(unit) is None:
        raise ECGError(f"unit {unit!r} is not a voltage; expected 'mV', 'uV' or 'V'.")
    try:
        if path.is_dir():
            raise ECGError(f"{path.name} is a folder; name a record in it (find_records lists them).")
        if not path.is_file():
            raise ECGError(f"{path.name} does not exist.")
        if path.stat().st_size == 0:
            raise ECGError(f"{path.name} is empty (0 bytes); export or copy it again.")
        if path.stat().st_size > MAX_BYTES:
            raise ECGError(
                f"{path.name} is larger than the {MAX_BYTES // 1_000_000} MB that are read at once."
            )
        head = _first_bytes(path)
        reader = next((r for r in READERS.values() if r.recognise(path, head)), None)
        if reader is None:
            raise ECGError(f"{path.name} is not an ECG in a known format ({', '.join(READERS)}).")
        return _to_ecg(path, reader.read(path), fs, unit)
    except ECGError:
        raise
    except MemoryError as error:
        raise ECGError(f"{path.name} is too large for this machine's memory.") from error
    except Exception as error:
        raise ECGError(
            f"{path.name} cannot be read: {_plain(str(error) or type(error).__name__, path)}"
        ) from error


def read_ecg_upload(files: Mapping[str, bytes], *, fs: float | None = None, unit: str | None = None) -> ECG:
    """Read the one record that uploaded files hold: a file, the files of a WFDB record, or a .zip.

    The files pass through a private temporary folder that is removed in any case; of their names
    only the last part is used.

    Parameters
    ----------
    files : name -> content
    fs, unit : as for `read_ecg`

    Raises
    ------
    ECGError : as `read_ecg`; and for no record, or more than one (named)
    """
    flat = _unpack(files)
    with tempfile.TemporaryDirectory(prefix="clear_hug_") as folder:
        for name, content in flat.items():
            try:
                (Path(folder) / name).write_bytes(content)
            except (OSError, UnicodeError) as error:
                raise ECGError(f"a file named {name[:40]!r} cannot be stored; rename it.") from error
        records = find_records(folder)
        if not records and len(flat) == 1:
            records = [Path(folder) / next(iter(flat))]
        if not records:
            raise ECGError(f"no ECG among {_some(flat)}; expected one of {', '.join(EXTENSIONS)}.")
        if len(records) > 1:
            names = _some([record.name for record in records])
            raise ECGError(f"{len(records)} records at once ({names}); upload one at a time.")
        return read_ecg(records[0], fs=fs, unit=unit)


def find_records(folder: str | os.PathLike[str], limit: int = MAX_FILES) -> list[Path]:
    """The records under a folder, sorted; one entry a record (for WFDB its header).

    Names decide, and for CSV the first line: a table of labels is not an ECG. A header without its
    data is listed, so that opening it can say so.

    Raises
    ------
    ECGError : not a folder
    """
    root = Path(folder)
    if not root.is_dir():
        raise ECGError(f"{root.name} is not a folder.")
    found: list[Path] = []
    for where, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        base = Path(where)
        for name in sorted(names):
            extension = os.path.splitext(name)[1].lower()
            if name.startswith(".") or extension not in EXTENSIONS:
                continue
            if extension in (".dat", ".mat"):
                continue  # a header speaks for them
            path = base / name
            if extension in READERS["CSV"].extensions and not _is_listed_csv(path):
                continue
            found.append(path)
            if len(found) >= limit:
                return sorted(found)
    return sorted(found)


def _is_listed_csv(path: Path) -> bool:
    try:
        return _looks_like_csv(_first_bytes(path))
    except OSError:
        return False


# From a recording in the file's own units to the standard value.


def _to_ecg(path: Path, recording: _Recording, fs: float | None, unit: str | None) -> ECG:
    said = list(recording.warnings)
    leads: dict[str, _Channel] = {}
    left_out: list[str] = []
    for channel in recording.channels:
        upside_down = channel.name.strip().startswith("-")  # "-aVR", Cabrera's order
        name = channel.name.strip().lstrip("-")
        lead = canonical_lead(name)
        if lead is None:
            left_out.append(channel.name.strip() or "(no name)")
        elif lead in leads:
            raise ECGError(f"lead {lead} stands twice in {path.name}; keep one of the two.")
        else:
            leads[lead] = replace(channel, samples=-channel.samples) if upside_down else channel
    if not any(lead in LEADS for lead in leads):
        names = _some([*left_out, *leads]) or "none"
        raise ECGError(
            f"{path.name} holds no channel named as one of the twelve leads "
            f"(found: {names}); expected {', '.join(LEADS)}."
        )
    if left_out:
        said.append(f"Left out, since they are not ECG leads by a known name: {_some(left_out)}.")

    rates = {leads[lead].fs for lead in leads if lead in LEADS}
    if len(rates) > 1:
        stated = ", ".join(f"{lead} {leads[lead].fs:g} Hz" for lead in leads if leads[lead].fs)
        raise ECGError(f"leads of {path.name} differ in sampling rate ({stated}); all need one.")
    rate = rates.pop()
    other = [lead for lead in leads if leads[lead].fs != rate]
    if other:  # one of V7-V9, X, Y, Z: shown, so that it may as well be missing
        said.append(f"Left out, since their sampling rate differs: {', '.join(other)}.")
        leads = {lead: channel for lead, channel in leads.items() if lead not in other}
    n = max(channel.samples.size for channel in leads.values())
    if n * len(leads) > MAX_VALUES:
        raise ECGError(_too_long(path, n, len(leads)))
    if fs is not None:
        if rate is not None and not math.isclose(fs, rate, rel_tol=1e-6):
            said.append(f"The file says {rate:g} Hz; {fs:g} Hz was asked for and is used.")
        rate = fs
    elif rate is None:
        rate = _guess_rate(path, n)
        said.append(
            f"The file names no sampling rate; {rate:g} Hz is a guess, since its {n:,} samples "
            f"would then last {RESTING_SECONDS:g} s, as a resting ECG does."
        )
    if not MIN_FS <= rate <= MAX_FS:
        raise ECGError(f"{path.name} says {rate:g} Hz; expected {MIN_FS:g} to {MAX_FS:g} Hz.")
    if n / rate < MIN_SECONDS:
        raise ECGError(f"{path.name} lasts {n / rate:.3g} s; at least {MIN_SECONDS:g} s is needed.")

    factors = {lead: _millivolt(c.unit) or (_millivolt(unit) if unit else None) for lead, c in leads.items()}
    without = [lead for lead, factor in factors.items() if factor is None]
    known = not any(lead in LEADS for lead in without)
    if known and without:  # beyond the twelve: of no use beside leads in mV
        said.append(f"Left out, since their unit is no voltage: {', '.join(without)}.")
        leads = {lead: channel for lead, channel in leads.items() if lead not in without}
    signals = {
        lead: (channel.samples * (factors[lead] or 1.0)).astype(np.float32) for lead, channel in leads.items()
    }
    if not known:
        units = sorted({leads[lead].unit for lead in without if lead in LEADS})
        named = " or ".join(repr(u) for u in units if u)
        said.append(
            (f"The file's unit, {named}, is not a voltage" if named else "The file names no unit")
            + ", so that no voltage can be read from this record."
        )
    signals, pulse = _without_calibration(signals, rate)
    if pulse:
        said.append(f"The last {pulse:.1f} s hold the device's calibration pulse and were left out.")
    if known and (span := _scaled_each_to_its_own(signals)):
        known = False
        said.append(
            f"Every lead {span}: each was scaled to its own range, so that no voltage can be read "
            "from this record."
        )
    ecg = ecg_from_leads(
        signals, rate, record_id=path.stem, units_known=known, source=recording.source,
        age=recording.age, sex=recording.sex,
    )  # fmt: skip
    if not ecg.present.any():
        raise ECGError(f"{path.name} marks every sample of every lead as invalid.")
    return replace(ecg, warnings=(*said, *_implausible(ecg)))


def _guess_rate(path: Path, n: int) -> float:
    rate = n / RESTING_SECONDS
    if rate not in _USUAL_RATES:
        raise ECGError(
            f"{path.name} names no sampling rate, and {n:,} samples are not {RESTING_SECONDS:g} s "
            "at any usual one; say it: read_ecg(path, fs=...)."
        )
    return rate


def _without_calibration(
    signals: dict[str, NDArray[Any]], fs: float
) -> tuple[dict[str, NDArray[Any]], float]:
    """Cut the 1 mV pulse that Philips appends: all leads alike, at 0 and 1 mV only, up to the end.

    Left in, it would be taken for a beat. Returns the leads and how many seconds were cut.
    """
    if len(signals) < 3 or len({s.size for s in signals.values()}) > 1:
        return signals, 0.0
    stack = np.stack(list(signals.values()))
    apart = np.flatnonzero((stack != stack[0]).any(axis=0))
    start = int(apart[-1]) + 1 if apart.size else 0
    tail = stack[0, start:]
    pulse = start > 0 and 0.2 * fs < tail.size < 2 * fs and set(np.round(tail, 2).tolist()) == {0.0, 1.0}
    if not pulse:
        return signals, 0.0
    return {lead: s[:start] for lead, s in signals.items()}, tail.size / fs


def _scaled_each_to_its_own(signals: Mapping[str, NDArray[Any]]) -> str:
    """How leads that were normalised one by one give themselves away, or "" (LUDB: each spans 1 "mV")."""
    alive = [s[np.isfinite(s)].astype(np.float64) for s in signals.values()]
    alive = [s for s in alive if s.size and np.ptp(s) > 0]
    if len(alive) < 4:
        return ""
    for what, of in (("spans", np.ptp), ("has a standard deviation of", np.std)):
        values = np.array([of(s) for s in alive])
        if np.ptp(values) <= SAME_SPAN * values.mean():
            return f"{what} {values.mean():.3g} mV exactly"
    return ""


def _implausible(ecg: ECG) -> list[str]:
    """What looks wrong with the values, in sentences."""
    said: list[str] = []
    names = np.array(LEADS)
    there = ecg.signal[ecg.present]
    if ecg.flat[ecg.present].all():
        said.append("Every lead is flat: the record holds no heart beat.")
        return said
    if ecg.flat.any():
        said.append(f"Flat, as when an electrode is off: {', '.join(names[ecg.flat])}.")
    gaps = np.isnan(there).mean(axis=1)
    if gaps.any():
        worst = int(gaps.argmax())
        said.append(
            f"Samples are absent in {', '.join(names[ecg.present][gaps > 0])} "
            f"(up to {100 * gaps[worst]:.2g} % of a lead)."
        )
    if ecg.units_known:
        span = float(np.max(np.fmax.reduce(there, axis=1) - np.fmin.reduce(there, axis=1)))
        if span > HIGH_MV:  # else no sample is that far from the median, which costs the most to find
            highest = float(np.nanmax(np.abs(there - np.nanmedian(there, axis=1, keepdims=True))))
            if highest > HIGH_MV:
                said.append(
                    f"Deflections reach {highest:,.0f} mV, more than any heart's: an artefact, or a wrong "
                    "unit or gain in the file (µV taken for mV?)."
                )
        if span < LOW_MV:
            said.append(
                f"No lead spans more than {span:.2g} mV: a very low voltage, or a wrong unit or gain "
                "in the file."
            )
    return said


def _millivolt(unit: str) -> float | None:
    """What one `unit` is in mV, or None where it is not a voltage."""
    return _MILLIVOLT.get(unit.strip().lower())


def _age(value: Any) -> float | None:
    """Years, or None for what is no age (PTB-XL writes 300 for "above 89")."""
    try:
        age = float(value)
    except (TypeError, ValueError):
        return None
    return age if 0 <= age <= 120 else None


def _sex(value: Any) -> str | None:
    return {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M"}.get(str(value).strip().upper())


def _some(names: Any, most: int = 12) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _too_long(path: Path, n: int, channels: int) -> str:
    return (
        f"{path.name} claims {n:,} samples of {channels} channels; "
        f"at most {MAX_VALUES:,} values are read at once."
    )


def _plain(text: str, path: Path) -> str:
    """The first line of a library's message, without folders."""
    text = (text.strip() or "unknown").splitlines()[0]
    text = text.replace(str(path), path.name).replace(str(path.parent) + os.sep, "")
    text = re.sub(r"(?<![\w.])(?:[A-Za-z]:\\|/)(?:[^\s'\"]*[/\\])?", "", text)
    return text[:200].rstrip(". ") + "."


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


# Uploads


def _unpack(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files by base name, zips opened; refuses two of one name and more than `MAX_BYTES`."""
    flat: dict[str, bytes] = {}
    room = MAX_BYTES

    def add(name: str, content: bytes) -> None:
        nonlocal room
        base = re.split(r"[/\\]", name)[-1].replace("\0", "")
        if base in ("", ".", "..") or base.startswith(".") or "__MACOSX" in name:
            return
        if base in flat:
            raise ECGError(f"two files are named {base}; upload one record at a time.")
        room -= len(content)
        if room < 0:
            raise ECGError(f"the upload is larger than {MAX_BYTES // 1_000_000} MB.")
        flat[base] = content

    for name, content in files.items():
        if not name.lower().endswith(".zip"):
            add(name, content)
            continue
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                members = [member for member in archive.infolist() if not member.is_dir()]
                if sum(member.file_size for member in members) > room:
                    raise ECGError(f"{name} unpacks to more than {MAX_BYTES // 1_000_000} MB.")
                for member in members:
                    add(member.filename, archive.read(member))
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
            raise ECGError(f"{Path(name).name} cannot be opened as a .zip archive.") from error
    if not flat:
        raise ECGError("nothing was uploaded; choose a file.")
    return flat


# WFDB

_BYTES_A_SAMPLE = {"8": 1, "16": 2, "24": 3, "32": 4, "61": 2, "80": 1, "160": 2,
                   "212": 1.5, "310": 4 / 3, "311": 4 / 3}  # fmt: skip
_FORMAT = re.compile(r"^(\d+)(?:x0*([1-9]\d*))?(?::\d+)?(?:\+(\d+))?$")
_GAIN = re.compile(r"^([-+]?[\d.]+(?:[eE][-+]?\d+)?)(?:\([-+]?\d+\))?(?:/(\S+))?$")


def _is_wfdb(path: Path, head: bytes) -> bool:
    return path.suffix.lower() in (".hea", ".dat", ".mat")


def _read_wfdb(path: Path) -> _Recording:
    header = path if path.suffix.lower() == ".hea" else path.with_suffix(".hea")
    if not header.is_file():
        raise ECGError(f"{path.name} needs its header {header.name} beside it.")
    if header.stat().st_size == 0:
        raise ECGError(f"{header.name} is empty (0 bytes); export or copy it again.")
    text = header.read_bytes()[:1_000_000].decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines()]
    body = [line for line in lines if line and not line.startswith("#")]
    record = re.match(r"^(\S+)\s+(\d+)(?:\s+([\d.eE+]+)\S*(?:\s+(\d+))?)?", body[0]) if body else None
    if record is None:
        raise ECGError(f"{header.name} is not a WFDB header: its first line is no record line.")
    name, n_signals, n = record[1], int(record[2]), int(record[4] or 0)
    if "/" in name:
        parts = _some([line.split()[0] for line in body[1:]])
        raise ECGError(f"{header.name} joins several segments; open one of them: {parts}.")
    rows = [line.split(maxsplit=8) for line in body[1 : 1 + n_signals]]
    if not n_signals or len(rows) < n_signals or any(len(row) < 2 for row in rows):
        raise ECGError(f"{header.name} promises {n_signals} signals and describes {len(rows)}.")
    if n * n_signals > MAX_VALUES:
        raise ECGError(_too_long(header, n, n_signals))
    _check_wfdb_data(header, rows, n)

    wave = _rdrecord(header, record, body[1 : 1 + n_signals])
    said = [] if record[3] else [f"{header.name} names no sampling rate; WFDB's default, 250 Hz, is taken."]
    no_unit = False
    channels: list[_Channel] = []
    for i, row in enumerate(rows):
        gain = _GAIN.match(row[2]) if len(row) > 2 else None
        calibrated = gain is not None and float(gain[1]) != 0
        channels.append(
            _Channel(
                wave.sig_name[i] or "",
                wave.e_p_signal[i],
                wave.fs * wave.samps_per_frame[i],
                wave.units[i] if calibrated else "",  # a gain of 0 says "not calibrated"
            )
        )
        no_unit |= gain is not None and calibrated and gain[2] is None
    if no_unit:
        said.append(f"{header.name} names no unit; WFDB's default, mV, is taken.")
    comments = "\n".join(line.lstrip("# ") for line in lines if line.startswith("#"))
    age, sex = _age_sex_comments(comments)
    return _Recording("WFDB", channels, age, sex, tuple(said))


@cache
def _wfdb() -> Any:
    """The wfdb package, its table of header fields looked up in a dict.

    It asks pandas for every field of every signal, which took most of the time of reading a record.
    """
    import wfdb
    from wfdb.io import _header

    table = _header.SIGNAL_SPECS
    light = SimpleNamespace(
        index=list(table.index),
        loc={(i, column): table.loc[i, column] for i in table.index for column in table},
    )
    slow = _header._parse_signal_lines
    _header._parse_signal_lines = FunctionType(slow.__code__, {**slow.__globals__, "SIGNAL_SPECS": light})
    return wfdb


def _rdrecord(header: Path, record: re.Match[str], signals: list[str]) -> Any:
    wfdb = _wfdb()
    if "." not in record[1] and header.suffix == ".hea":
        return wfdb.rdrecord(str(header.with_suffix("")), smooth_frames=False)
    # "A0001.mat 12 500 ...": a slip of the challenges' own headers, which wfdb refuses.
    with tempfile.TemporaryDirectory(prefix="clear_hug_") as folder:
        first = f"record {record[2]} {record[3] or ''} {record[4] or ''}"
        (Path(folder) / "record.hea").write_text("\n".join([first, *signals]) + "\n")
        for file in {line.split()[0] for line in signals}:
            shutil.copyfile(header.parent / file, Path(folder) / file)
        return wfdb.rdrecord(str(Path(folder) / "record"), smooth_frames=False)


def _check_wfdb_data(header: Path, rows: list[list[str]], n: int) -> None:
    """Refuse data files outside the header's folder, absent ones, and short ones."""
    for file in {row[0] for row in rows}:
        if re.search(r"[/\\:]", file) or file in ("", ".", "..", "-", "~"):
            raise ECGError(
                f"{header.name} names {file!r} as its data file; only a file beside the header is read."
            )
        data = header.parent / file
        if not data.is_file():
            raise ECGError(f"{header.name} needs its data file {file} beside it, which is not there.")
        size = data.stat().st_size
        if size == 0:
            raise ECGError(f"{file} is empty (0 bytes); export or copy it again.")
        if size > MAX_BYTES:
            raise ECGError(f"{file} is larger than the {MAX_BYTES // 1_000_000} MB that are read at once.")
        frame, offset = 0.0, 0  # bytes
        for row in rows:
            if row[0] == file:
                spec = _FORMAT.match(row[1])
                if spec is None or spec[1] not in _BYTES_A_SAMPLE:
                    raise ECGError(f"{header.name} stores {file} in WFDB format {row[1]}, which is not read.")
                frame += int(spec[2] or 1) * _BYTES_A_SAMPLE[spec[1]]
                offset = int(spec[3] or 0)
        there = max(0, size - offset) / frame
        if there * len(rows) > 2 * MAX_VALUES and not n:
            raise ECGError(_too_long(header, math.floor(there), len(rows)))
        if math.ceil(there) < n:
            raise ECGError(
                f"{file} is cut short: it holds {math.floor(there):,} of the {n:,} samples "
                f"that {header.name} promises."
            )


def _age_sex_comments(comments: str) -> tuple[float | None, str | None]:
    """Age and sex from header comments: "Age: 74", "<age>: 51", or MIT-BIH's "69 M 1085 ..."."""
    age = re.search(r"(?im)^<?age>?\s*:\s*([\d.]+)\s*$", comments)
    sex = re.search(r"(?im)^<?(?:sex|gender)>?\s*:\s*(\w+)\s*$", comments)
    if not (age or sex) and (mit := re.match(r"^(\d{1,3}|\?)\s+([MF?])(?:\s|$)", comments)):
        return _age(mit[1]), _sex(mit[2])
    return _age(age[1] if age else None), _sex(sex[1] if sex else None)


# CSV


def _cells(line: str) -> list[str]:
    for delimiter in ("\t", ";", ","):
        if delimiter in line:
            return [cell.strip().strip('"') for cell in line.split(delimiter)]
    return line.split()


def _number(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


_TIME = re.compile(r"^(time|t|sec|seconds?)\W*(s|sec|seconds?|ms)?\W*$", re.IGNORECASE)
_HEADING = re.compile(r"^(.*?)\s*[\[(]\s*(\S+)\s*[\])]\s*$")  # "II [mV]"


def _is_csv(path: Path, head: bytes) -> bool:
    return b"\0" not in head and (path.suffix.lower() in (".csv", ".tsv") or _looks_like_csv(head))


def _looks_like_csv(head: bytes) -> bool:
    """A first line of twelve or more numbers, or of column names of which at least half are leads."""
    if b"\0" in head:
        return False
    cells = _cells(head.decode("utf-8-sig", errors="replace").split("\n", 1)[0].strip())
    if not cells or cells == [""]:
        return False
    if all(map(_number, cells)):
        return len(cells) >= len(LEADS)
    return 2 * sum(canonical_lead(_heading(cell)[0]) in LEADS for cell in cells) >= len(cells)


def _heading(cell: str) -> tuple[str, str]:
    """Name and unit of a column: "II [mV]" -> ("II", "mV")."""
    match = _HEADING.match(cell)
    return (match[1], match[2]) if match else (cell, "")


def _read_csv(path: Path) -> _Recording:
    """Rows are samples; columns are leads by name, or the twelve in the standard order."""
    import pandas as pd

    first = _first_bytes(path).decode("utf-8-sig", errors="replace").split("\n", 1)[0].strip()
    delimiter = next((d for d in ("\t", ";", ",") if d in first), r"\s+")
    cells = _cells(first)
    named = not all(map(_number, cells))
    if named and not any(canonical_lead(_heading(cell)[0]) in LEADS for cell in cells):
        raise ECGError(
            f"{path.name} has no column named as one of the twelve leads "
            f"(found: {_some([cell[:20] for cell in cells])}); expected {', '.join(LEADS)}."
        )
    table = pd.read_csv(
        path, sep=delimiter, header=None, skiprows=1 if named else 0, encoding="utf-8-sig",
        skip_blank_lines=True, dtype=np.float64, na_values=["", "NaN", "nan", "NA", "null"],
    )  # fmt: skip
    values = table.to_numpy()
    n_leads = len(LEADS)
    if not named:
        if values.shape[0] == n_leads and values.shape[1] > n_leads:
            values = values.T  # a row a lead
        if values.shape[1] != n_leads:
            raise ECGError(
                f"{path.name} has {values.shape[1]} columns and no heading; expected the twelve leads "
                f"in the order {', '.join(LEADS)}, or a first line that names the columns."
            )
        one, two, three = values[:, :3].T
        off = float(np.nanstd(two - one - three)) > 0.2 * float(np.nanstd(two))
        odd = "The unnamed columns do not obey II = I + III: are they in the standard order?"
        channels = [_Channel(lead, values[:, i], None, "") for i, lead in enumerate(LEADS)]
        return _Recording("CSV", channels, warnings=(odd,) if off else ())
    fs = None
    channels = []
    for i, cell in enumerate(cells):
        if cell.lower() in ("", "sample", "index", "n"):
            continue
        if _TIME.match(cell):
            step = float(np.median(np.diff(values[:, i]))) / (1000 if "ms" in cell.lower() else 1)
            if not step > 0:
                raise ECGError(f"column {cell!r} of {path.name} does not rise, so that it is no time.")
            fs = 1 / step
            continue
        name, unit = _heading(cell)
        channels.append(_Channel(name, values[:, i], None, unit))
    return _Recording("CSV", [replace(channel, fs=fs) for channel in channels])


# CardioSoft XML, as UK Biobank's resting ECGs are


def _is_cardiosoft(path: Path, head: bytes) -> bool:
    return b"<CardiologyXML" in head


def _read_cardiosoft(path: Path) -> _Recording:
    """The rhythm strip (StripData), not the averaged beat nor the filtered full disclosure."""
    content = path.read_bytes()
    if b"<!ENTITY" in content:
        raise ECGError(f"{path.name} declares XML entities, which an ECG has no use for.")
    root = ElementTree.fromstring(content)
    strip = root.find(".//StripData")
    if strip is None:
        raise ECGError(f"{path.name} is CardioSoft XML without a rhythm strip (StripData).")
    fs, step = strip.findtext("SampleRate"), strip.find("Resolution")
    known = step is not None and step.get("units") == "uVperLsb"
    factor = float(step.text or 1) if step is not None and known else 1.0
    channels = [
        _Channel(
            wave.get("lead", ""),
            factor * np.array((wave.text or "").replace(",", " ").split(), dtype=np.float64),
            float(fs) if fs else None,
            "uV" if known else "",
        )
        for wave in strip.findall("WaveformData")
    ]
    age = root.find(".//PatientInfo/Age")
    years = age.text if age is not None and age.get("units") == "YEARS" else None
    return _Recording("CardioSoft XML", channels, _age(years), _sex(root.findtext(".//PatientInfo/Gender")))


# All that ecgdatakit reads


@cache
def _parsers() -> dict[str, Any]:
    from ecgdatakit import FileParser

    return {parser.FORMAT_NAME: parser for parser in FileParser().parsers}


_WORTH_SAYING = re.compile(
    r"checksum|CRC|experimental|truncated|gaps|missing samples|scale|offset|rounded|not loaded|"
    r"only the first",
    re.IGNORECASE,
)


def _read_ecgdatakit(path: Path, source: str) -> _Recording:
    from ecgdatakit import FileParser

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        record = FileParser.parse(path)
    # Only what is known to be of use: pydicom's "Invalid value for VR PN" quotes a patient's name.
    texts = dict.fromkeys(str(w.message) for w in caught)
    said = [_plain(t, path) for t in texts if _WORTH_SAYING.search(t) and "for VR" not in t]
    channels = [
        _Channel(lead.label, np.asarray(lead.samples), _exact_rate(record, lead), _unit(lead))
        for lead in record.leads
    ]
    return _Recording(source, channels, _age(record.patient.age), _sex(record.patient.sex), tuple(said))


def _unit(lead: Any) -> str:
    return "" if lead.is_raw else lead.units


def _exact_rate(record: Any, lead: Any) -> float:
    """The sampling rate before ecgdatakit rounds it to a whole number (EDF, aECG and DICOM tell)."""
    meta = record.raw_metadata
    rates = [
        meta.get("exact_sampling_rates", {}).get(lead.label),
        meta.get("rhythm_time", {}).get("sampling_rate_exact"),
        *(group["sampling_frequency"] for group in meta.get("multiplex_groups", [])),
    ]
    near = [rate for rate in rates if rate and abs(rate - lead.sampling_rate) <= 0.5]
    return float(near[0] if near else lead.sampling_rate)


def _read_muse(path: Path) -> _Recording:
    """GE MUSE XML; the rate stands in up to three places, and they need not agree."""
    recording = _read_ecgdatakit(path, "GE MUSE XML")
    stated = re.findall(rb"<(?:ECG)?SampleBase>\s*(\d+)\s*<", path.read_bytes())
    rates = sorted({int(rate) for rate in stated})
    if len(rates) < 2 or not recording.channels:
        return recording
    said = (
        f"The file contradicts itself on the sampling rate ({' and '.join(map(str, rates))} Hz); "
        f"the waveform's own, {recording.channels[0].fs:g} Hz, is used."
    )
    return replace(recording, warnings=(*recording.warnings, said))


def _ecgdatakit(
    name: str, source: str, *extensions: str, read: Callable[[Path], _Recording] | None = None
) -> Reader:
    """A format by ecgdatakit's name for it."""

    def recognise(path: Path, head: bytes) -> bool:
        return bool(_parsers()[name].can_parse(path, head))

    return Reader(read or partial(_read_ecgdatakit, source=source), extensions, recognise)


READERS: dict[str, Reader] = {
    "WFDB": Reader(_read_wfdb, (".hea", ".dat", ".mat"), _is_wfdb),
    "CardioSoft XML": Reader(_read_cardiosoft, (".xml",), _is_cardiosoft),
    "DICOM waveform": _ecgdatakit("DICOM Waveform", "DICOM waveform", ".dcm", ".dicom"),
    "HL7 aECG": _ecgdatakit("HL7 aECG", "HL7 aECG", ".xml"),
    "GE MUSE XML": _ecgdatakit("GE MUSE XML", "GE MUSE XML", ".xml", read=_read_muse),
    "Philips Sierra XML": _ecgdatakit("Philips Sierra XML", "Philips Sierra XML", ".xml"),
    "Mortara ELI XML": _ecgdatakit("Mortara ELI (EL250/ELI280)", "Mortara ELI XML", ".xml"),
    "SCP-ECG": _ecgdatakit("SCP-ECG", "SCP-ECG", ".scp"),
    "EDF": _ecgdatakit("EDF/EDF+", "EDF", ".edf"),
    "ISHNE": _ecgdatakit("ISHNE Holter", "ISHNE", ".ecg"),
    "MFER": _ecgdatakit("MFER", "MFER", ".mwf", ".mfer", ".mfr"),
    "Kardia JSON": _ecgdatakit("AliveCor Kardia JSON", "Kardia JSON", ".json"),
    "CSV": Reader(_read_csv, (".csv", ".tsv", ".txt"), _is_csv),
}
"""Format -> reader; the first that recognises a file reads it."""

EXTENSIONS: tuple[str, ...] = tuple(
    dict.fromkeys(e for reader in READERS.values() for e in reader.extensions)
)
"""What the uploader offers (it takes .zip too)."""
