"""WFDB, the format of PhysioNet: a header in text beside one or more files of samples.

Read by wfdb: ecgdatakit rounds a sampling rate to a whole number, keeps WFDB's "invalid sample" codes
as numbers and refuses headers that the PhysioNet challenges publish.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np

from clear_hug.ecg import ECGError
from clear_hug.io.recording import Asked, Channel, Recording, sex_of, some, within, years

_BYTES_A_SAMPLE = {"8": 1, "16": 2, "24": 3, "32": 4, "61": 2, "80": 1, "160": 2,
                   "212": 1.5, "310": 4 / 3, "311": 4 / 3}  # fmt: skip
_FORMAT = re.compile(r"^(\d+)(?:x0*([1-9]\d*))?(?::\d+)?(?:\+(\d+))?$")
_GAIN = re.compile(r"^([-+]?[\d.]+(?:[eE][-+]?\d+)?)(?:\([-+]?\d+\))?(?:/(\S+))?$")


_RECORD = re.compile(r"^(\S+)[ \t]+(\d+)(?:[ \t]+([\d.eE+]+)\S*(?:[ \t]+(\d+))?)?")
_SIGNAL = re.compile(r"^\S+[ \t]+\d+(x\d+)?(:\d+)?(\+\d+)?([ \t]|$)")


def is_wfdb(path: Path, head: bytes) -> bool:
    """A header by its first two lines; a file of samples by the header beside it."""
    suffix = path.suffix.lower()
    if suffix == ".hea":
        return True
    if suffix in (".dat", ".mat") and path.with_suffix(".hea").is_file():
        return True
    if b"\0" in head:
        return False
    lines = [line.strip() for line in head.decode("utf-8", errors="replace").splitlines()]
    body = [line for line in lines if line and not line.startswith("#")]
    record = _RECORD.match(body[0]) if len(body) > 1 else None
    number = record is not None and re.fullmatch(r"[-+\d.,;eE]+", record[1])
    return record is not None and not number and _SIGNAL.match(body[1]) is not None and int(record[2][:9]) > 0


def is_lone_samples(path: Path, head: bytes) -> bool:
    return path.suffix.lower() == ".dat"


def segments_of(head: bytes) -> set[str]:
    """The segments that a header joins, by name; none for the header of a single one."""
    lines = [line.strip() for line in head.decode("utf-8", errors="replace").splitlines()]
    body = [line for line in lines if line and not line.startswith("#")]
    if not body or not re.match(r"^\S+/\d+[ \t]", body[0]):
        return set()
    return {line.split()[0] for line in body[1:]}


def read_wfdb(path: Path, asked: Asked) -> Recording:
    header = path.with_suffix(".hea") if path.suffix.lower() in (".dat", ".mat") else path
    if not header.is_file():
        raise ECGError(f"{path.name} needs its header {header.name} beside it.")
    if header.stat().st_size == 0:
        raise ECGError(f"{header.name} is empty (0 bytes); export or copy it again.")
    text = header.read_bytes()[:1_000_000].decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines()]
    body = [line for line in lines if line and not line.startswith("#")]
    record = _RECORD.match(body[0]) if body else None
    if record is None:
        raise ECGError(f"{header.name} is not a WFDB header: its first line is no record line.")
    if any(len(number or "") > 15 for number in record.groups()[1:]):
        raise ECGError(f"{header.name} is not a WFDB header: its first line holds no plausible numbers.")
    name, n_signals, n = record[1], int(record[2]), int(record[4] or 0)
    within("leads", n_signals, header.name)
    if "/" in name:
        return _read_segments(header, body[1:], n_signals, asked)
    rows = [line.split(maxsplit=8) for line in body[1 : 1 + n_signals]]
    if not n_signals or len(rows) < n_signals or any(len(row) < 2 for row in rows):
        raise ECGError(f"{header.name} promises {n_signals} signals and describes {len(rows)}.")
    within("values", n * n_signals, header.name)
    _check_wfdb_data(header, rows, n)

    wave = _rdrecord(header, record, body[1 : 1 + n_signals])
    said = [] if record[3] else [f"{header.name} names no sampling rate; WFDB's default, 250 Hz, is taken."]
    no_unit = False
    channels: list[Channel] = []
    for i, row in enumerate(rows):
        gain = _GAIN.match(row[2]) if len(row) > 2 else None
        calibrated = gain is not None and float(gain[1]) != 0
        channels.append(
            Channel(
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
    return Recording("WFDB", channels, age, sex, tuple(said))


def _read_segments(header: Path, lines: list[str], n_signals: int, asked: Asked) -> Recording:
    """Segments, each with a header of its own beside this one, joined by channel; gaps are absent."""
    rows = [line.split() for line in lines]
    within("segments", len(rows), header.name)
    if any(len(row) < 2 or not re.fullmatch(r"\d{1,12}", row[1]) for row in rows):
        raise ECGError(f"{header.name} joins segments without saying how long each is.")
    n = sum(int(row[1]) for row in rows)
    within("values", n * n_signals, header.name)
    parts = some(row[0] for row in rows if row[0] != "~")
    joined: dict[str, Channel] = {}
    start = 0
    for name, length in ((row[0], int(row[1])) for row in rows):
        if name == "~" or not length:  # a gap, or a layout that only lists the channels
            start += length
            continue
        part = header.with_name(f"{name}.hea") if re.fullmatch(r"[\w-]+", name) else header
        if part == header or not part.is_file():
            raise ECGError(f"{header.name} joins several segments ({parts}), and not all lie beside it.")
        if segments_of(part.read_bytes()[:4096]):
            raise ECGError(f"{header.name} joins {part.name}, which itself joins segments; that is not read.")
        for channel in read_wfdb(part, asked).channels:
            whole = joined.setdefault(
                channel.name,
                Channel(channel.name, np.full(n, np.nan, np.float32), channel.fs, channel.unit),
            )
            if (channel.fs, channel.unit, channel.samples.size) != (whole.fs, whole.unit, length):
                raise ECGError(f"{header.name} and {part.name}, which it joins, contradict each other.")
            whole.samples[start : start + length] = channel.samples
        start += length
        within("leads", len(joined), header.name)
    said = (f"{sum(row[0] != '~' and row[1] != '0' for row in rows)} segments are joined.",)
    return Recording("WFDB", list(joined.values()), warnings=said)


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
        within("bytes", size, file)
        frame, offset = 0.0, 0  # bytes
        for row in rows:
            if row[0] == file:
                spec = _FORMAT.match(row[1])
                if spec is None or spec[1] not in _BYTES_A_SAMPLE:
                    raise ECGError(f"{header.name} stores {file} in WFDB format {row[1]}, which is not read.")
                frame += int(spec[2] or 1) * _BYTES_A_SAMPLE[spec[1]]
                offset = int(spec[3] or 0)
        there = max(0, size - offset) / frame
        if not n:
            within("values", there * len(rows) / 2, header.name)
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
        return years(mit[1]), sex_of(mit[2])
    return years(age[1] if age else None), sex_of(sex[1] if sex else None)
