"""WFDB, the format of PhysioNet: a header in text beside one or more files of samples.

Read by wfdb: ecgdatakit rounds a sampling rate to a whole number, keeps WFDB's "invalid sample" codes
as numbers and refuses headers that the PhysioNet challenges publish.
"""

from __future__ import annotations

import math
import re
import shutil
from functools import cache
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from clear_hug.ecg import WRONG_GAIN, ECGError
from clear_hug.io.private import private_folder
from clear_hug.io.recording import (
    Asked,
    Channel,
    NoSample,
    Recording,
    sex_of,
    some,
    within,
    years,
)
from clear_hug.leads import canonical_lead

DEFAULT_FS = 250.0  # Hz, of a header that names none
MOST_ODD = 5  # sentences about the segments of a record
_BYTES_A_SAMPLE = {"8": 1, "16": 2, "24": 3, "32": 4, "61": 2, "80": 1, "160": 2,
                   "212": 1.5, "310": 4 / 3, "311": 4 / 3}  # fmt: skip
_FLAC_BITS = {"508": 8, "516": 16, "524": 24}  # format -> the most bits of a sample
_FORMAT = re.compile(r"^(\d+)(?:x0*([1-9]\d*))?(?::\d+)?(?:\+(\d+))?$")
_GAIN = re.compile(r"^([-+]?[\d.]+(?:[eE][-+]?\d+)?)(?:\([-+]?\d+\))?(?:/(\S+))?$")


_RECORD = re.compile(r"^([^\s:,;=]+)[ \t]+(\d+)(?:[ \t]+([\d.eE+]+)\S*(?:[ \t]+(\d+))?)?")
_SIGNAL = re.compile(r"^(?:\S*[./~]\S*|-)[ \t]+\d+(x\d+)?(:\d+)?(\+\d+)?([ \t]|$)")


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
    return path.suffix.lower() == ".dat" or head.startswith(b"fLaC")


def segments_of(head: bytes) -> set[str]:
    """The segments that a header joins, by name; none for the header of a single one."""
    lines = [line.strip() for line in head.decode("utf-8", errors="replace").splitlines()]
    body = [line for line in lines if line and not line.startswith("#")]
    if not body or not re.match(r"^\S+/\d+[ \t]", body[0]):
        return set()
    return {line.split()[0] for line in body[1:]}


class Header(NamedTuple):
    """What a header says before any sample is read.

    path : of the header;  record : its first line, parted;  lines : all of it, comments too
    rows : what follows the first line, without comments and empty lines
    n_signals : how many signals;  n : how many frames, 0 where it does not say
    fs : frames a second, None where it does not say
    """

    path: Path
    record: re.Match[str]
    lines: list[str]
    rows: list[str]
    n_signals: int
    n: int
    fs: float | None

    @property
    def joins(self) -> bool:
        """Whether it joins segments, each with a header of its own."""
        return "/" in self.record[1]


def header_of(path: Path) -> Header:
    """What the header says at `path`, or beside the samples that lie there."""
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
    numbers = body[0][len(record[1]) :]
    if not numbers.isascii() or any(len(number or "") > 15 for number in record.groups()[1:]):
        raise ECGError(f"{header.name} is not a WFDB header: its first line holds no plausible numbers.")
    n_signals, n = int(record[2]), int(record[4] or 0)
    within("leads", n_signals, header.name)
    fs = float(record[3]) if record[3] else None
    return Header(header, record, lines, body[1:], n_signals, n, fs)


def signals_of(head: Header) -> list[list[str]]:
    """The fields of each signal's line."""
    rows = [line.split(maxsplit=8) for line in head.rows[: head.n_signals]]
    if not head.n_signals or len(rows) < head.n_signals or any(len(row) < 2 for row in rows):
        raise ECGError(f"{head.path.name} promises {head.n_signals} signals and describes {len(rows)}.")
    return rows


def wfdb_frames(path: Path) -> tuple[int, float]:
    """How many frames a record holds, and how many a second, by its header and the sizes of its files."""
    head = header_of(path)
    if head.joins:
        n = sum(length for _, length in segment_rows(head))
    else:
        n = _check_wfdb_data(head.path, signals_of(head), head.n, whole=False)
    return n, head.fs or DEFAULT_FS


def read_wfdb(path: Path, asked: Asked, span: tuple[int, int] | None = None) -> Recording:
    """A record, or of a longer one the frames from `span[0]` up to `span[1]`."""
    head = header_of(path)
    header = head.path
    if head.joins:
        return _read_segments(head, asked, span)
    rows = signals_of(head)
    within("values", (span[1] - span[0] if span else head.n) * head.n_signals, header.name)
    n = _check_wfdb_data(header, rows, head.n, whole=span is None)
    if span and any(re.match(r"8(\D|$)", row[1]) for row in rows):
        raise ECGError(f"{header.name} stores differences (WFDB format 8), which are read only as a whole.")

    wave = _rdrecord(head, n, span)
    said = [] if head.fs else [f"{header.name} names no sampling rate; WFDB's default, 250 Hz, is taken."]
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
                # a gain of 0 says "not calibrated"; wfdb makes "V" of "µV"
                ((gain[2] if gain else None) or wave.units[i]) if calibrated else "",
            )
        )
        no_unit |= gain is not None and calibrated and gain[2] is None
    if no_unit:
        said.append(f"{header.name} names no unit; WFDB's default, mV, is taken.")
    if span is None and (changed := _unlike_checksum(wave, rows)):
        said.append(
            f"The samples of {some(changed)} do not give the checksum in the header: changed, or damaged."
        )
    said += _odd_gain(wave)
    if _steps_for_gain(wave):
        said.append(
            f"{header.name} gives a gain of {STEPS_FOR_GAIN}/mV, but its samples are whole steps of "
            f"{STEPS_FOR_GAIN / 1000:g} µV, counted in µV: a {WRONG_GAIN}; the true voltages are "
            f"{STEPS_FOR_GAIN / 1000:g} times as high. The data set corrected this later (1000/mV)."
        )
    comments = "\n".join(line.lstrip("# ") for line in head.lines if line.startswith("#"))
    age, sex = _age_sex_comments(comments)
    return Recording("WFDB", channels, age, sex, tuple(said))


# The count that stands for "no sample" in each storage format; wfdb gives NaN for it.
_NO_SAMPLE = {"80": -128, "212": -2048, "310": -512, "311": -512, "16": -32768, "61": -32768, "160": -32768,
              "24": -8_388_608, "32": -2_147_483_648, "508": -128, "516": -32768,
              "524": -8_388_608}  # fmt: skip


def _unlike_checksum(wave: Any, rows: list[list[str]]) -> list[str]:
    """Signals whose counts do not add up to the header's checksum, where it has one (modulo 65,536)."""
    changed = []
    for i, row in enumerate(rows):
        none = _NO_SAMPLE.get(wave.fmt[i])
        if none is None or len(row) < 7 or not re.fullmatch(r"-?\d{1,9}", row[6]):
            continue
        if wave.skew[i]:  # a skewed signal is read without its first samples
            continue
        counts = wave.e_p_signal[i] * wave.adc_gain[i]
        counts += wave.baseline[i]
        if not np.isfinite(counts.sum()):
            counts = np.nan_to_num(counts, nan=none, posinf=none, neginf=none)
        total = int(np.rint(counts, out=counts).astype(np.int64).sum())
        if (total - int(row[6])) % 65_536:
            changed.append((wave.sig_name[i] or f"signal {i + 1}")[:30])
    return changed


def _odd_gain(wave: Any) -> list[str]:
    """A sentence where one lead alone has another gain than all others; what is no lead may well have one."""
    leads = [i for i, name in enumerate(wave.sig_name) if canonical_lead((name or "").strip().lstrip("-"))]
    gains = [f"{wave.adc_gain[i]:g}/{wave.units[i]}" for i in leads]
    if not gains:
        return []
    usual = max(gains, key=gains.count)
    odd = [i for i, gain in enumerate(gains) if gain != usual]
    if len(odd) != 1 or len(gains) < 4:
        return []
    name, gain = wave.sig_name[leads[odd[0]]], gains[odd[0]]
    own = f"{name[:30]} has a gain of its own in the header ({gain}; all others {usual})"
    return [f"{own}: a slip, or a {WRONG_GAIN}?"]


STEPS_FOR_GAIN = 4880
"""A step of the device in nV, which the first headers of the Georgia data set (Challenge of 2020) give as the
gain; those of 2021 say 1000/mV of the same samples."""


def _steps_for_gain(wave: Any) -> bool:
    """All gains are `STEPS_FOR_GAIN`, and counts (of leads that are no sums of others) such steps in µV."""
    if set(wave.adc_gain) != {STEPS_FOR_GAIN} or set(wave.units) != {"mV"}:
        return False
    sums = ("III", "aVR", "aVL", "aVF")
    rows = [i for i, name in enumerate(wave.sig_name) if canonical_lead(name or "") not in (None, *sums)]
    counts = [wave.e_p_signal[i] * wave.adc_gain[i] + wave.baseline[i] for i in rows]
    sizes = np.unique(np.abs(np.rint(np.concatenate([np.empty(0), *counts]))))
    sizes, step = sizes[np.isfinite(sizes)], STEPS_FOR_GAIN / 1000
    # whole steps, written down without their fraction; by chance a fifth of all numbers are such
    return len(sizes) >= 20 and bool((np.floor(np.ceil(sizes / step) * step) == sizes).all())


def segment_rows(head: Header) -> list[tuple[str, int]]:
    """(name, frames) of each segment that a header joins."""
    rows = [line.split() for line in head.rows]
    within("segments", len(rows), head.path.name)
    if any(len(row) < 2 or not re.fullmatch(r"\d{1,12}", row[1]) for row in rows):
        raise ECGError(f"{head.path.name} joins segments without saying how long each is.")
    return [(row[0], int(row[1])) for row in rows]


def _read_segments(head: Header, asked: Asked, span: tuple[int, int] | None) -> Recording:
    """Segments, each with a header of its own beside this one, joined by channel; gaps are absent."""
    header, rows = head.path, segment_rows(head)
    first, last = span or (0, sum(length for _, length in rows))
    n = last - first
    within("values", n * head.n_signals, header.name)
    parts = some(name for name, _ in rows if name != "~")
    joined: dict[str, Channel] = {}
    odd: dict[str, None] = {}
    start = -first
    for name, length in rows:
        a, b = max(0, -start), min(length, n - start)  # of the segment, what is asked for
        at, start = start + a, start + length
        if name == "~" or a >= b:  # a gap, a layout that only lists the channels, or elsewhere
            continue
        part = header.with_name(f"{name}.hea") if re.fullmatch(r"[\w-]+", name) else header
        if part == header or not part.is_file():
            raise ECGError(f"{header.name} joins several segments ({parts}), and not all lie beside it.")
        if segments_of(part.read_bytes()[:4096]):
            raise ECGError(f"{header.name} joins {part.name}, which itself joins segments; that is not read.")
        recording = read_wfdb(part, asked, (a, b) if span else None)
        odd.update(dict.fromkeys(recording.warnings[: MOST_ODD - len(odd)]))
        names = [channel.name for channel in recording.channels]
        if twice := {name for name in names if names.count(name) > 1 and canonical_lead(name.lstrip("-"))}:
            raise ECGError(f"lead {min(twice)} stands twice in {part.name}; keep one of the two.")
        for channel in recording.channels:
            each = channel.samples.size // (b - a)  # samples a frame
            within("values", n * each * head.n_signals, header.name)
            whole = joined.setdefault(
                channel.name,
                Channel(channel.name, np.full(n * each, np.nan, np.float32), channel.fs, channel.unit),
            )
            same = (channel.fs, channel.unit, n * each) == (whole.fs, whole.unit, whole.samples.size)
            if not same or channel.samples.size != each * (b - a):
                raise ECGError(f"{header.name} and {part.name}, which it joins, contradict each other.")
            whole.samples[each * at : each * (at + b - a)] = channel.samples
        within("leads", len(joined), header.name)
    if not joined:
        raise NoSample(f"{header.name} joins no segment there: nothing was recorded.")
    said = f"{sum(name != '~' and length > 0 for name, length in rows)} segments are joined."
    return Recording("WFDB", list(joined.values()), warnings=(said, *odd))


@cache
def _wfdb() -> Any:
    """The wfdb package, its tables of header fields looked up in dicts.

    It asks pandas for every field of every line, which took most of the time of reading a record.
    """
    import wfdb
    from wfdb.io import _header

    for parse, specs in (("_parse_record_line", "RECORD_SPECS"), ("_parse_signal_lines", "SIGNAL_SPECS")):
        slow, table = getattr(_header, parse), getattr(_header, specs)
        light = SimpleNamespace(
            index=list(table.index),
            loc={(i, column): table.loc[i, column] for i in table.index for column in table},
        )
        setattr(_header, parse, FunctionType(slow.__code__, {**slow.__globals__, specs: light}))
    return wfdb


def _rdrecord(head: Header, n: int, span: tuple[int, int] | None) -> Any:
    """Samples and gains, by wfdb.

    n : frames that there are
    """
    wfdb = _wfdb()
    header, record, signals = head.path, head.record, head.rows[: head.n_signals]
    part = {"sampfrom": span[0], "sampto": span[1]} if span else {}
    flac = any(row.split()[1].startswith(tuple(_FLAC_BITS)) for row in signals)
    if flac:
        from soundfile import SoundFileError as Broken
    else:
        Broken = ()
    try:
        if "." not in record[1] and header.suffix == ".hea" and (head.n or not flac):
            return wfdb.rdrecord(str(header.with_suffix("")), smooth_frames=False, **part)
        # "A0001.mat 12 500 ...": a slip of the challenges' own headers, which wfdb refuses.
        with private_folder() as folder:
            length = str(n) if flac else record[4] or ""  # the other formats tell it by the size of the file
            rate = record[3] or (f"{DEFAULT_FS:g}" if length else "")
            first = f"record {record[2]} {rate} {length}"
            (folder / "record.hea").write_text("\n".join([first, *signals]) + "\n")
            for file in {line.split()[0] for line in signals}:
                _lay_beside(header.parent / file, folder / file)
            return wfdb.rdrecord(str(folder / "record"), smooth_frames=False, **part)
    except Broken:
        raise ECGError(
            f"the FLAC files of {header.name} cannot be unpacked: broken or cut short; export or copy them "
            "again."
        ) from None


def _lay_beside(file: Path, there: Path) -> None:
    """A link, or a copy where none can be made."""
    try:
        there.symlink_to(file.resolve())
    except OSError:
        shutil.copyfile(file, there)


def _check_wfdb_data(header: Path, rows: list[list[str]], n: int, whole: bool) -> int:
    """Refuse data files outside the header's folder, absent ones, and short ones; how many frames there are.

    n : frames that the header promises, 0 where it does not say;  whole : all is to be read at once
    """
    frames = float("inf")
    for file in {row[0] for row in rows}:
        if re.search(r"[/\\:]", file) or file in ("", ".", "..", "-", "~"):
            raise ECGError(
                f"{header.name} names {file!r} as its data file; only a file beside the header is read."
            )
        data = header.parent / file
        if not data.is_file():
            raise ECGError(f"{header.name} needs {file}, its data file, beside it, which is not there.")
        size = data.stat().st_size
        if size == 0:
            raise ECGError(f"{file} is empty (0 bytes); export or copy it again.")
        if whole:
            within("bytes", size, file)
        frame, offset = 0.0, 0  # bytes
        stream = _flac_stream(header, data, rows)
        for row in () if stream is not None else rows:
            if row[0] == file:
                spec = _FORMAT.match(row[1])
                if spec is None or spec[1] not in _BYTES_A_SAMPLE:
                    raise ECGError(f"{header.name} stores {file} in WFDB format {row[1]}, which is not read.")
                frame += int(spec[2] or 1) * _BYTES_A_SAMPLE[spec[1]]
                offset = int(spec[3] or 0)
        there = max(0, size - offset) / frame if stream is None else stream
        frames = min(frames, there)
        if not n and whole:
            within("values", there * len(rows) / 2, header.name)
        if stream == 0 and not n:
            raise ECGError(f"neither {header.name} nor {file} says how many samples there are; export again.")
        if math.ceil(there) < n and stream != 0:
            raise ECGError(
                f"{file} is cut short: it holds {math.floor(there):,} of the {n:,} samples "
                f"that {header.name} promises."
            )
    return n or int(frames)


def _flac_stream(header: Path, data: Path, rows: list[list[str]]) -> float | None:
    """How many frames a FLAC file says it holds (0 = it does not say), or None for another format.

    Raises
    ------
    ECGError : it is no FLAC file, or not of the header's channels and bits
    """
    specs = [_FORMAT.match(row[1]) for row in rows if row[0] == data.name]
    formats = {spec[1] for spec in specs if spec}
    if not formats & set(_FLAC_BITS):
        return None
    each = {int(spec[2] or 1) for spec in specs if spec}  # samples a frame
    if len(formats) > 1 or len(each) > 1 or None in specs:
        raise ECGError(
            f"{header.name} stores signals of unlike formats or rates in {data.name}, which FLAC cannot hold."
        )
    with data.open("rb") as file:
        begin = file.read(42)
    if len(begin) < 42 or begin[:4] != b"fLaC" or begin[4] & 0x7F:
        raise ECGError(
            f"{data.name} is no FLAC file, which {header.name} says it is (WFDB format {min(formats)}): "
            "export or copy it again."
        )
    # STREAMINFO: 20 bits of a rate, 3 of channels - 1, 5 of bits - 1, 36 of samples
    word = int.from_bytes(begin[18:26], "big")
    channels, bits, samples = (word >> 41 & 7) + 1, (word >> 36 & 31) + 1, word & (1 << 36) - 1
    if channels != len(specs) or bits > _FLAC_BITS[formats.pop()]:
        raise ECGError(
            f"{data.name} holds {channels} channels of {bits} bits, and {header.name} says otherwise."
        )
    offset = max(int(spec[3] or 0) for spec in specs if spec)  # samples, not bytes
    return max(0, samples - offset) / each.pop()


def _age_sex_comments(comments: str) -> tuple[float | None, str | None]:
    """Age and sex from header comments: "Age: 74", "<age>: 51 <sex>: F", or MIT-BIH's "69 M 1085 ..."."""
    age = re.search(r"(?im)(?:^|<)age>?\s*:\s*([\d.]+)\s*(?:$|<)", comments)
    sex = re.search(r"(?im)(?:^|<)(?:sex|gender)>?\s*:\s*(\w+)\s*(?:$|<)", comments)
    if not (age or sex) and (mit := re.match(r"^(\d{1,3}|\?)\s+([MF?])(?:\s|$)", comments)):
        return years(mit[1]), sex_of(mit[2])
    return years(age[1] if age else None), sex_of(sex[1] if sex else None)
