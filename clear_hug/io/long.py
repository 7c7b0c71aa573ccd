"""Records of hours: opened, not read. A stretch of one is an ECG like any other.

`open_ecg(path)` reads a record of up to an hour, and opens a longer one; `LongRecord.read` gives the
stretch that is asked for. WFDB, EDF, BDF and ISHNE, the formats of long recordings, are opened by their
headers: wfdb reads any part of a file, and of the others a stretch is written out as a small file of the same
format, so that the usual reader reads it. Records of other formats are read whole, within the limits, and
held.

What is told from the samples alone (which counts stand for "no sample", a unit that no header names) is told
for each stretch; what a stretch warns of is of that stretch.
"""

from __future__ import annotations

import binascii
import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from clear_hug.ecg import ECG, ECGError, clock, cut
from clear_hug.io.edf import BYTES_A_SAMPLE, edf_fields, is_bdf, number_of
from clear_hug.io.limits import LONGEST_WHOLE
from clear_hug.io.open import READERS, read_ecg, reader_of
from clear_hug.io.physionet import read_wfdb, wfdb_frames
from clear_hug.io.private import private_folder
from clear_hug.io.recording import Asked, Recording, first_bytes, said_plainly, within
from clear_hug.io.standard import to_ecg

PROBE = 10.0  # s, read when a record is opened
MOST_COMMENTS = 1_000_000  # bytes, before the samples of an ISHNE file
NEAR = 1e-6  # of a sample; seconds are not whole fractions of it


@dataclass(frozen=True, eq=False)
class LongRecord:
    """A record that is opened and not read.

    Attributes
    ----------
    record_id, source : as an `ECG` has them
    fs : Hz;  seconds : its length
    part : (start, stop) s -> ECG
    """

    record_id: str
    source: str
    fs: float
    seconds: float
    part: Callable[[float, float], ECG]

    def read(self, start: float, seconds: float) -> ECG:
        """A stretch (s) as an ECG; its name and its source say where in the record it lies.

        Raises
        ------
        ECGError : the stretch lies outside the record, is shorter than a second, or holds no sample
        """
        stop = min(start + seconds, self.seconds)
        if not 0 <= start < stop:
            raise ECGError(
                f"{self.record_id or 'the record'} lasts {clock(self.seconds)}; {start:g} s is not within it."
            )
        ecg = self.part(start, stop)
        where = f"{clock(start)} to {clock(stop)}"
        return replace(
            ecg,
            record_id=f"{self.record_id}, {where}" if self.record_id else where,
            source=f"{self.source}, {where} of {clock(self.seconds)}",
        )


def open_ecg(path: str | os.PathLike[str]) -> ECG | LongRecord:
    """A record: read where it lasts up to an hour, else opened.

    Raises
    ------
    ECGError : as `read_ecg`
    """
    path = Path(path)
    try:
        seconds, why = _seconds(path), None
    except ECGError as error:  # read_ecg may read it all the same
        seconds, why = 0.0, error
    if seconds > LONGEST_WHOLE:
        return open_long(path)
    try:
        ecg = read_ecg(path)
    except ECGError as error:
        raise why or error from None
    return held(ecg) if ecg.duration > LONGEST_WHOLE else ecg


def _seconds(path: Path) -> float:
    """The length of a record by its header; 0 for a format that is read only as a whole."""
    opened = _parts_of(path) if path.is_file() else None
    if opened is None:
        return 0.0
    with said_plainly(path):
        return opened.seconds(path)


def _parts_of(path: Path) -> _Parts | None:
    with said_plainly(path):
        reader = reader_of(path, first_bytes(path))
    return next((PARTS[name] for name in PARTS if READERS[name] is reader), None)


def held(ecg: ECG) -> LongRecord:
    """A record that has been read, to be looked at a stretch at a time."""
    return LongRecord(
        ecg.record_id, ecg.source, ecg.fs, ecg.duration, lambda start, stop: cut(ecg, start, stop)
    )


def open_long(path: str | os.PathLike[str]) -> LongRecord:
    """Open a WFDB, EDF, BDF or ISHNE record of any length by its header.

    Raises
    ------
    ECGError : another format, or a record that cannot be read; without the folder's name
    """
    path = Path(path)
    if not path.is_file():
        raise ECGError(f"{path.name} does not exist.")
    opened = _parts_of(path)
    if opened is None:
        raise ECGError(f"{path.name} is read only as a whole; {', '.join(PARTS)} records open in parts.")
    seconds = _seconds(path)
    within("hours", seconds / 3600, path.name)
    seen = _look(path, opened, seconds)
    return LongRecord(path.stem, seen.source, seen.fs, seconds, lambda *edges: _part(path, opened, *edges))


def _look(path: Path, opened: _Parts, seconds: float) -> ECG:
    """The first seconds, or some further on where nothing was recorded at the beginning."""
    failed: ECGError | None = None
    for share in (0.0, 0.25, 0.5, 0.75):
        start = share * max(0.0, seconds - PROBE)
        try:
            return _part(path, opened, start, min(start + PROBE, seconds))
        except ECGError as error:
            failed = failed or error
    raise failed or ECGError(f"{path.name} holds no sample.")


def _part(path: Path, opened: _Parts, start: float, stop: float) -> ECG:
    """The stretch from `start` to `stop` (s), by the way that every recording goes."""
    with said_plainly(path):
        recording, begins = opened.read(path, start, stop)
        channels = []
        for channel in recording.channels:
            rate = channel.fs or 1.0
            a, b = (round(edge * rate) - round(begins * rate) for edge in (start, stop))
            channels.append(replace(channel, samples=channel.samples[max(0, a) : b]))
        return to_ecg(path, replace(recording, channels=channels), Asked())


# Formats of which a part can be read


class _Parts(NamedTuple):
    """How a part of a file is read.

    seconds : (path) -> length of the record
    read : (path, start, stop) -> a recording that covers the stretch (s), and the s it begins at
    """

    seconds: Callable[[Path], float]
    read: Callable[[Path, float, float], tuple[Recording, float]]


def _whole_steps(start: float, stop: float, step: float, most: int) -> tuple[int, int]:
    """First and one-past-last step of a grid that together cover a stretch."""
    first = math.floor(start / step + NEAR)
    return first, min(most, max(first + 1, math.ceil(stop / step - NEAR)))


def _wfdb_seconds(path: Path) -> float:
    n, rate = wfdb_frames(path)
    return n / rate


def _wfdb_part(path: Path, start: float, stop: float) -> tuple[Recording, float]:
    n, rate = wfdb_frames(path)
    first, last = _whole_steps(start, stop, 1 / rate, n)
    return read_wfdb(path, Asked(), (first, last)), first / rate


class _Blocks(NamedTuple):
    """A file of a head and of blocks of one size.

    head : its bytes;  size : of a block, bytes;  n : blocks that are there;  seconds : of a block
    said : what is odd about the whole
    """

    head: bytes
    size: int
    n: int
    seconds: float
    said: tuple[str, ...] = ()


def _edf_blocks(path: Path) -> _Blocks:
    with path.open("rb") as file:
        fixed = file.read(256)
        n_signals = number_of(fixed[252:256])
        if not 0 < n_signals <= 9999:
            raise ECGError(f"{path.name} describes {n_signals} signals.")
        head = fixed + file.read(256 * n_signals)
    seconds, promised = float(fixed[244:252].replace(b"\0", b"")), number_of(fixed[236:244])
    samples = [number_of(field) for field in edf_fields(head, n_signals)[-1]]
    if min(samples) <= 0 or not seconds > 0:
        raise ECGError(f"{path.name} states no length of its data records.")
    kind = "BDF" if is_bdf(path, fixed) else "EDF"
    size = BYTES_A_SAMPLE[kind] * sum(samples)
    there = (path.stat().st_size - len(head)) // size
    said: tuple[str, ...] = ()
    if promised > there:
        said = (f"The header promises {promised:,} data records and {there:,} are there: cut short?",)
    elif promised < 0:
        said = (f"The recorder did not close the file; the {there:,} data records that are there are read.",)
    if fixed[192:197] == f"{kind}+D".encode():
        said += (f"The recording may have been interrupted ({kind}+D): times here leave its pauses out.",)
    return _Blocks(head, size, min(promised, there) if promised >= 0 else there, seconds, said)


def _edf_head(blocks: _Blocks, n: int) -> bytes:
    return blocks.head[:236] + str(n).encode().ljust(8) + blocks.head[244:]


def _ishne_blocks(path: Path) -> _Blocks:
    with path.open("rb") as file:
        fixed = file.read(522)
        variable, promised = struct.unpack_from("<ii", fixed, 10)
        leads, rate = (struct.unpack_from("<h", fixed, at)[0] for at in (156, 272))
        if not 0 <= variable <= MOST_COMMENTS or not 0 < leads <= 12 or rate <= 0:
            raise ECGError(f"{path.name} is broken: its header holds no plausible numbers.")
        head = fixed + file.read(variable)
    size = 2 * leads
    n = (path.stat().st_size - 522 - variable) // size
    said: tuple[str, ...] = ()
    if 0 < n < promised:
        said = (f"The header promises {promised:,} samples a lead and {n:,} are there: cut short?",)
    return _Blocks(head, size, n, 1 / rate, said)


def _ishne_head(blocks: _Blocks, n: int) -> bytes:
    """The head of a file of `n` samples a lead; a sound checksum stays sound, and a wrong one wrong."""
    head = bytearray(blocks.head)
    (stored,) = struct.unpack_from("<H", head, 8)
    sound = stored in _checksums(head)
    struct.pack_into("<i", head, 14, n)
    if sound:
        struct.pack_into("<H", head, 8, _checksums(head)[0])
    return bytes(head)


def _checksums(head: bytearray) -> tuple[int, int]:
    """In both orders of its bytes, since the format does not fix it."""
    found = binascii.crc_hqx(bytes(head[10:]), 0xFFFF)
    return found, (found & 0xFF) << 8 | found >> 8


def _by_excerpt(
    name: str, blocks_of: Callable[[Path], _Blocks], head_of: Callable[[_Blocks, int], bytes]
) -> _Parts:
    """A format of a head and of blocks: a stretch of a file is a small file of the same format."""

    def seconds(path: Path) -> float:
        blocks = blocks_of(path)
        return blocks.n * blocks.seconds

    def read(path: Path, start: float, stop: float) -> tuple[Recording, float]:
        blocks = blocks_of(path)
        first, last = _whole_steps(start, stop, blocks.seconds, blocks.n)
        within("bytes", (last - first) * blocks.size, path.name)
        with private_folder() as folder:
            excerpt = folder / path.name
            with path.open("rb") as file:
                file.seek(len(blocks.head) + first * blocks.size)
                content = file.read((last - first) * blocks.size)
            excerpt.write_bytes(head_of(blocks, last - first) + content)
            recording = READERS[name].read(excerpt, Asked())
        said = tuple(dict.fromkeys((*blocks.said, *recording.warnings)))
        return replace(recording, warnings=said), first * blocks.seconds

    return _Parts(seconds, read)


PARTS: dict[str, _Parts] = {
    "WFDB": _Parts(_wfdb_seconds, _wfdb_part),
    "EDF": _by_excerpt("EDF", _edf_blocks, _edf_head),
    "ISHNE": _by_excerpt("ISHNE", _ishne_blocks, _ishne_head),
    "BDF": _by_excerpt("BDF", _edf_blocks, _edf_head),
}
"""Format of `READERS` -> how a part of it is read."""
