"""EDF and EDF+, and the same in 24 bits: BDF and BDF+ of BioSemi.

ecgdatakit reads EDF (`kit.py`) and refuses BDF, which is EDF but for its first bytes, the width of a sample
and the name of the channel of annotations. So a BDF file is handed to it as EDF, each sample without its
lowest byte, and the leads get their whole samples afterwards: header, scale, pauses and what is said of a
broken file are those of one reader.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import ECGError
from clear_hug.io.kit import as_channels, as_recording, parse, parsers
from clear_hug.io.recording import Asked, Recording, within

BDF_BEGINS = b"\xffBIOSEMI"
BYTES_A_SAMPLE = {"EDF": 2, "BDF": 3}

# Bytes of a signal's fields in the header, in their order, and what a number in them may look like.
_DECIMAL, _WHOLE = rb"[-+]?[\d.,]+(?:[eE][-+]?\d+)?", rb"[-+]?\d{1,7}"
_FIELDS = ((16, b""), (80, b""), (8, b""), (8, _DECIMAL), (8, _DECIMAL), (8, _WHOLE), (8, _WHOLE),
           (80, b""), (8, rb"\+?\d+"))  # fmt: skip
_MOST_DIGITS = {"EDF": 5, "BDF": 7}  # of a count


def edf_fields(head: bytes, signals: int) -> list[list[bytes]]:
    """What a header says of its signals: (field, signal), from label to samples a data record."""
    fields, at = [], 256
    for size, _ in _FIELDS:
        fields.append([head[at + i * size : at + (i + 1) * size] for i in range(signals)])
        at += size * signals
    return fields


def number_of(field: bytes) -> int:
    """A whole number in a header; some recorders fill a field up with zero bytes."""
    return int(field.replace(b"\0", b""))


def is_edf(path: Path, head: bytes) -> bool:
    return not is_bdf(path, head) and bool(parsers()["EDF/EDF+"].can_parse(path, head))


def is_bdf(path: Path, head: bytes) -> bool:
    return head.startswith(BDF_BEGINS)


def read_edf(path: Path, asked: Asked) -> Recording:
    """EDF; ecgdatakit makes a number of a broken field where it can."""
    within("bytes", path.stat().st_size, path.name)
    record, said = parse(path, _edf_parser())
    return _checked(path, "EDF", as_recording("EDF", record, as_channels(record), said))


def read_bdf(path: Path, asked: Asked) -> Recording:
    """BDF, 24 bits a sample."""
    within("bytes", path.stat().st_size, path.name)
    record, said = parse(path, _bdf_parser())
    said = [re.sub(r"\bEDF", "BDF", sentence) for sentence in said]
    return _checked(path, "BDF", as_recording("BDF", record, as_channels(record), said))


def _checked(path: Path, kind: str, recording: Recording) -> Recording:
    """With what is odd about the header, and about time, in our words."""
    if any("gaps between data records" in sentence for sentence in recording.warnings):
        said = (
            f"The recording was interrupted ({kind}+D): what was not recorded is left out, and the RR "
            "interval across each pause is wrong."
        )
        rest = (sentence for sentence in recording.warnings if "gaps between data records" not in sentence)
        recording = replace(recording, warnings=(*rest, said))
    with path.open("rb") as file:
        fixed = file.read(256)
        signals = int(fixed[252:256].decode("ascii", errors="ignore").strip(" \0") or 0)
        fields = edf_fields(fixed + file.read(256 * signals), signals)
    for (_, number), rows in zip(_FIELDS, fields, strict=True):
        values = [row.lstrip().rstrip(b" \t\r\n\0") for row in rows]
        most = _MOST_DIGITS[kind] if number == _WHOLE else 8
        if number and not all(re.fullmatch(number, v) and len(v.lstrip(b"+-")) <= most for v in values):
            said = (
                "The header holds a number that is none by EDF's rules: the scale or the leads may be wrong."
            )
            return replace(recording, warnings=(*recording.warnings, said))
    return recording


@cache
def _edf_parser() -> Any:
    """The parser of EDF, for headers that `_righted` rights."""
    from ecgdatakit.parsing.parsers.edf import EDFParser

    class Parser(EDFParser):
        def _parse(self, raw: bytes) -> Any:
            return super()._parse(_righted(raw))

    return Parser()


_COMMA = re.compile(rb"\s*[-+]?\d*,\d+\s*")
_THOUSAND = re.compile(rb"\s*[-+]?[1-9]\d{0,2},\d{3}\s*")  # or one with three decimals: not known


def _righted(content: bytes) -> bytes:
    """A header with decimal points for commas, and with ranges that rise.

    The ranges are two points of a line from counts to values: where the lower count stands second, both are
    exchanged, and the line with its sign is the same.
    """
    try:
        signals = number_of(content[252:256])
        fields = edf_fields(content, signals)
        for row in fields[3:5]:
            row[:] = [
                v.replace(b",", b".") if _COMMA.fullmatch(v) and not _THOUSAND.fullmatch(v) else v
                for v in row
            ]
        falling = [number_of(low) > number_of(high) for low, high in zip(*fields[5:7], strict=True)]
    except ValueError:  # told by the parser
        return content
    for low, high in (fields[3:5], fields[5:7]):
        for i in np.flatnonzero(falling):
            low[i], high[i] = high[i], low[i]
    header = b"".join(b"".join(row) for row in fields)
    end = 256 + len(header)
    return content if header == content[256:end] else content[:256] + header + content[end:]


@cache
def _bdf_parser() -> Any:
    """The parser of EDF, for BDF."""

    class Parser(type(_edf_parser())):  # type: ignore[misc]
        def parse(self, file_path: Path) -> Any:
            as_edf, counts = _as_edf(Path(file_path))
            self._warnings: list[str] = []
            record = self._parse(as_edf)
            for lead, samples in zip(record.leads, counts, strict=True):
                lead.samples = samples.astype(np.float64)
            for said in self._warnings:
                warnings.warn(said, UserWarning, stacklevel=2)
            return record

    return Parser()


def _as_edf(path: Path) -> tuple[bytes, list[NDArray[np.int32]]]:
    """A BDF file as EDF without the lowest byte of each sample, and the whole counts of each signal.

    The channel of annotations keeps all its bytes, and thus has more of EDF's samples than of its own.

    Raises
    ------
    ECGError : a header that is cut short or holds no plausible numbers
    """
    content = path.read_bytes()
    try:
        signals = number_of(content[252:256])
        fields = edf_fields(content, signals)
        sizes = [number_of(field) for field in fields[-1]]  # samples a data record
        promised = number_of(content[236:244])
    except ValueError:
        raise ECGError(f"{path.name} is broken: its header holds no plausible numbers.") from None
    start, size = 256 * (signals + 1), 3 * sum(sizes)
    if signals < 1 or min(sizes) < 1 or len(content) < start:
        raise ECGError(f"{path.name} is broken: its header holds no plausible numbers.")
    there = (len(content) - start) // size
    n = min(there, promised) if promised >= 0 else there
    data = np.frombuffer(content, np.uint8, n * size, start).reshape(n, size)
    labels = [label.replace(b"\0", b"").strip() for label in fields[0]]
    parts: list[NDArray[np.uint8]] = []
    counts: list[NDArray[np.int32]] = []
    told: list[int] = []
    at = 0
    for label, each in zip(labels, sizes, strict=True):
        block = data[:, at : at + 3 * each]
        at += 3 * each
        if label == b"BDF Annotations":
            block = np.pad(block, ((0, 0), (0, each % 2)))
            told.append(block.shape[1] // 2)
        else:
            three = block.reshape(n, each, 3)
            high = three[:, :, 1:].reshape(n, 2 * each)
            # the two high bytes carry the sign
            whole = np.ascontiguousarray(three[:, :, 1:]).view("<i2").astype(np.int32).reshape(n, each)
            counts.append((whole * 256 + three[:, :, 0]).ravel())
            block = high
            told.append(each)
        parts.append(block)
    edf_labels = b"".join(
        (b"EDF Annotations" if label == b"BDF Annotations" else label).ljust(16)[:16] for label in labels
    )
    reserved = content[192:236]
    head = b"0       " + content[8:192] + re.sub(rb"^BDF\+", b"EDF+", reserved) + content[236:256]
    head += edf_labels + content[256 + 16 * signals : 256 + 216 * signals]
    head += b"".join(str(each).encode().ljust(8) for each in told) + content[256 + 224 * signals : start]
    # what is left of a record that was cut is no record of EDF's, of fewer bytes
    rest = content[start + n * size :] if n == promised else b""
    return head + np.concatenate(parts, axis=1).tobytes() + rest, counts
