"""What a reader hands over: channels in the file's own names and units, and what the file says beside."""

from __future__ import annotations

import os
import re
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import ECG, ECGError
from clear_hug.io.apart import Refused, read_apart
from clear_hug.io.limits import APART_BYTES, APART_SECONDS, LIMITS

HEAD_BYTES = 4096


def without_doubted_voltage(ecg: ECG) -> ECG:
    """The same with its units unknown, where one of its warnings doubts the unit or the gain."""
    return replace(ecg, units_known=False) if ecg.voltage_doubts else ecg


@dataclass(frozen=True)
class Asked:
    """What the caller says of a file, over what the file says; None: nothing.

    fs : Hz;  unit : "mV", "uV" or "V"
    leads : the channels' leads in the file's order, or the file's name -> the lead; "-I" is I turned over
    orientation : "columns" or "rows", where the leads of an array or a table are
    """

    fs: float | None = None
    unit: str | None = None
    leads: Sequence[str] | Mapping[str, str] | None = None
    orientation: str | None = None
    record: int | None = None

    def __post_init__(self) -> None:
        if self.unit is not None and millivolt(self.unit) is None:
            raise ECGError(f"unit {self.unit!r} is not a voltage; expected 'mV', 'uV' or 'V'.")
        if self.orientation not in (None, "columns", "rows"):
            raise ECGError(f"orientation {self.orientation!r} is unknown; expected 'columns' or 'rows'.")


@dataclass(frozen=True, eq=False)
class Channel:
    """One channel as it stands in the file.

    samples : in `unit`;  fs : Hz, None where the file does not say;  unit : "" where it does not say
    resolution, offset : samples = counts * resolution + offset, where the file holds counts
    """

    name: str
    samples: NDArray[Any]
    fs: float | None
    unit: str
    resolution: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, eq=False)
class Recording:
    """All that a reader found.

    bare : numbers alone, by no format of ECGs: the unit may be guessed from the values
    guessed : what the reader guessed (keys of `Asked`); the reasons are among `warnings`
    records : how many the file holds, of which this is one
    """

    source: str
    channels: list[Channel]
    age: float | None = None
    sex: str | None = None
    warnings: tuple[str, ...] = ()
    stored: Mapping[str, float] = field(default_factory=dict)
    device: str = ""
    filters: str = ""
    bare: bool = False
    guessed: tuple[str, ...] = ()
    records: int = 1


@dataclass(frozen=True)
class Reader:
    """One file format.

    Attributes
    ----------
    read : (path, asked) -> Recording, in the units the file states
    extensions : what such files are called, for the uploader and for `find_records`
    recognise : (path, first 4 kB) -> bool, by content
    """

    read: Callable[[Path, Asked], Recording]
    extensions: tuple[str, ...]
    recognise: Callable[[Path, bytes], bool]


class NeedsAnswer(ECGError):
    """A file that can be read once its reader is told what it does not say.

    asks : keys of `Asked`;  channels, records : how many there are, where that is known
    """

    def __init__(self, said: str, *asks: str, channels: int = 0, records: int = 0) -> None:
        super().__init__(said)
        self.asks, self.channels, self.records = asks, channels, records


_CALL = r": (?:read_ecg\(path, fs=\.\.\.\)|leads=\[\.\.\.\]|orientation='rows' or 'columns')"


def without_calls(said: str, where: str = "") -> str:
    """A reader's sentence for people without Python: where to say it, in place of what to pass to a function.

    where : such as "below"; "" = nowhere, and the clause is left out
    """
    said = re.sub(r"[.;] [Tt]o (?:set it right|choose): [^.]*", "", said)  # there are buttons for it
    if where:
        return re.sub(_CALL, f" {where}", said).replace(": record=", f" {where}: ")
    return re.sub(rf"; [^;]*{_CALL}", "", said)


class NoSample(ECGError):
    """A record, or a stretch of one, in which nothing was recorded."""


def asked_row(path: Path, what: str, n: int, asked: Asked) -> int:
    """Row of the record that the caller asks for, of the `n` that the file holds (`what`: in words).

    Raises
    ------
    NeedsAnswer : none is asked for
    ECGError : one that is not there
    """
    if asked.record is None:
        raise NeedsAnswer(
            f"{path.name} holds {what}; say which one: record=1 to {n}, or save one record by itself.",
            "record", records=n,
        )  # fmt: skip
    if not 1 <= asked.record <= n:
        raise ECGError(f"{path.name} holds {n:,} records, and record {asked.record:,} was asked for.")
    return asked.record - 1


_MILLIVOLT = {"nv": 1e-6, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "mv": 1.0, "v": 1e3,
              "nanovolt": 1e-6, "nanovolts": 1e-6, "microvolt": 1e-3, "microvolts": 1e-3,
              "millivolt": 1.0, "millivolts": 1.0, "volt": 1e3, "volts": 1e3,
              "uvolt": 1e-3, "uvolts": 1e-3, "microv": 1e-3, "mcv": 1e-3, "mvolt": 1.0, "mvolts": 1.0,
              "мкв": 1e-3, "мв": 1.0, "微伏": 1e-3, "毫伏": 1.0}  # fmt: skip
# A µ that was written in one encoding and read in another.
_GARBLED = re.compile(r"([?\ufffd°ºæ╡ｵ]|Âµ|Î¼)v(olts?)?", re.IGNORECASE)


def millivolt(unit: str) -> float | None:
    """What one `unit` is in mV, or None where it is not a voltage."""
    return 1e-3 if garbled(unit) else _MILLIVOLT.get(unit.strip().lower())


def garbled(unit: str) -> bool:
    """Whether a unit is one of volt whose prefix was lost: no other than µ is a sign beyond ASCII."""
    return _GARBLED.fullmatch(unit.strip()) is not None


SPAN_MV = (0.15, 20.0)  # what a lead of a heart spans


def median_span(leads: Iterable[NDArray[Any]]) -> float:
    """What the median lead spans, without its rarest values; 0 where none moves."""
    spans = []
    for lead in leads:
        values = lead[np.isfinite(lead)]
        if values.size and np.ptp(values) > 0:
            low, high = np.percentile(values, (0.2, 99.8))
            spans.append(high - low)
    return float(np.median(spans)) if spans else 0.0


# Numbers that devices and exports write where there is no sample: the ends of integer types, and nines.
_ENDS = [end for bits in (16, 24, 32) for end in (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 2**bits - 1)]
_NINES = [sign * int("9" * n) for n in range(3, 8) for sign in (-1, 1)]
# The last two: counts that were written out in mV, at the usual 1000 a mV.
_ABSENT = np.sort([*_ENDS, *_NINES, -32.768, 32.767])
_BETWEEN = (_ABSENT[1:] + _ABSENT[:-1]) / 2
# How near a number is one of them, when a scale or float32 has rounded it.
_NEAR = np.maximum(0.02 * np.minimum(1.0, np.abs(_ABSENT) / 1000), 1e-7 * np.abs(_ABSENT))


def without_absent(
    samples: NDArray[Any], resolution: float = 1.0, offset: float = 0.0
) -> tuple[NDArray[Any], int]:
    """Samples with the counts that stand for "none" as NaN, and how many these are.

    Such a count lies further off all others than these span, since a sound lead may reach it; three nines
    ten times as far. But -32768 in a run among whole counts stands for none wherever the others lie, if
    each way to it is a jump: to a peak that is cut off there, a lead runs as steeply as elsewhere.
    """
    if not resolution or samples.size < 2:
        return samples, 0
    ends = np.array([np.fmin.reduce(samples), np.fmax.reduce(samples)], np.float64)
    if not (np.abs((ends[:, None] - offset) / resolution - _ABSENT) < _NEAR).any():
        return samples, 0  # as in nearly every record
    counts = (np.asarray(samples, np.float64) - offset) / resolution
    nearest = np.searchsorted(_BETWEEN, counts)  # row of _ABSENT
    alike = np.abs(counts - _ABSENT[nearest]) < _NEAR[nearest]
    others = np.isfinite(counts) & ~alike
    rest = counts[others]
    low, high = (float(rest.min()), float(rest.max())) if rest.size else (0.0, 0.0)
    absent = np.zeros(counts.shape, np.bool_)
    for row in np.unique(nearest[alike]):
        count, there = _ABSENT[row], alike & (nearest == row)
        if np.ptp(counts[there]) > 0.5:  # unlike one another: a lead of 32 bits that lies about such a count
            continue
        off = max(low - count, count - high) / (10 if abs(count) == 999 else 1)
        run = count == -32768 and (there[1:] & there[:-1]).any() and _by_jumps(counts, there, others)
        if off > high - low or (run and np.allclose(rest, np.round(rest), rtol=0, atol=0.02)):
            absent |= there
    return (np.where(absent, np.nan, samples), int(absent.sum())) if absent.any() else (samples, 0)


def _by_jumps(counts: NDArray[Any], there: NDArray[np.bool_], others: NDArray[np.bool_]) -> bool:
    """Whether every step between the samples `there` and the `others` exceeds each step among the others."""
    steps = np.abs(np.diff(counts))
    between = steps[(there[1:] & others[:-1]) | (others[1:] & there[:-1])]
    among = steps[others[1:] & others[:-1]]
    return not between.size or not among.size or bool(between.min() > among.max())


def years(value: Any) -> float | None:
    """An age, or None for what is none (PTB-XL writes 300 for "above 89")."""
    try:
        age = float(value)
    except (TypeError, ValueError):
        return None
    return age if 0 <= age <= 120 else None


def sex_of(value: Any) -> str | None:
    return {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M"}.get(str(value).strip().upper())


_RANGES = {"heart_rate": (10, 400), "p_duration": (10, 400), "pr": (30, 1000), "qrs": (20, 500),
           "qt": (100, 1000), "qtc": (100, 1000)}  # fmt: skip


def measured(**values: Any) -> dict[str, float]:
    """The device's measurements that are numbers a heart can have: devices write 0 or 29999 for "none"."""
    found = {}
    for name, value in values.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        low, high = _RANGES.get(name, (-360, 360))
        if low <= number <= high:
            found[name] = number
    return found


def filter_words(low: float | None, high: float | None, notch: float | None) -> str:
    """Filters in words, from their edges in Hz: "0.05-150 Hz, notch at 50 Hz"."""
    said = []
    if low and high:
        said.append(f"{low:g} to {high:g} Hz")
    elif low:
        said.append(f"above {low:g} Hz")
    elif high:
        said.append(f"below {high:g} Hz")
    if notch:
        said.append(f"notch at {notch:g} Hz")
    return ", ".join(said)


def some(names: Iterable[str], most: int = 12) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def within(what: str, found: float, name: str) -> None:
    """Refuse what exceeds a limit."""
    if said := LIMITS[what].exceeded(found, name):
        raise ECGError(said)


def read_bytes(path: Path, what: str = "bytes") -> bytes:
    """A file's content, if it is within the limit."""
    within(what, path.stat().st_size, path.name)
    return path.read_bytes()


def members_of(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    """The files of an archive, if they are within the limits."""
    members = archive.infolist()
    within("files", len(members), name)
    within("unpacked", sum(member.file_size for member in members), name)
    return members


def arrays_apart(
    kind: str, path: Path, seconds: float = APART_SECONDS
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """What `read_apart` finds in a file within the limits; what it refuses is told with the file's name."""
    within("bytes", path.stat().st_size, path.name)
    try:
        return read_apart(kind, path, LIMITS["values"].most, APART_BYTES, seconds)
    except Refused as refused:
        raise ECGError(f"{path.name} {refused}.") from None


_one_listener = threading.RLock()


@contextmanager
def heard() -> Iterator[list[warnings.WarningMessage]]:
    """What libraries warn of meanwhile, for one thread after the other: Python lists it for all at once.

    Else the first of two threads to leave takes the list of the other away, and what is odd about a file that
    somebody else reads at that moment is never told.
    """
    with _one_listener, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


@contextmanager
def said_plainly(path: Path) -> Iterator[None]:
    """Whatever goes wrong is an ECGError: a library's error, without what it quotes of the file."""
    try:
        yield
    except ECGError:
        raise
    except MemoryError:
        raise ECGError(f"{path.name} is too large for this machine's memory.") from None
    except Exception as error:
        # Nothing is chained: a library's error quotes the file, and a log would keep it.
        raise ECGError(
            f"{path.name} cannot be read: {plain(str(error) or type(error).__name__, path)}"
        ) from None


def plain(text: str, path: Path) -> str:
    """The first line of a library's message, without folders and without what it quotes from the file."""
    text = (text.strip() or "unknown").splitlines()[0]
    text = text.replace(str(path), path.name).replace(str(path.parent) + os.sep, "")
    text = re.sub(r"(?<!\w)b?(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")", "...", text)
    text = re.sub(r"(?<![\w.])(?:[A-Za-z]:\\|/)(?:[^\s'\"]*[/\\])?", "", text)
    return text[:200].rstrip(". ") + "."
