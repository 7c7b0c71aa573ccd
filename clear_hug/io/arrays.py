"""Arrays of numbers: NPY, NPZ, MAT, HDF5 and Parquet."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import ECGError
from clear_hug.io.choose import MOST_LEADS, choose, from_array
from clear_hug.io.facts import Facts, facts
from clear_hug.io.limits import LIMITS
from clear_hug.io.recording import (
    Asked,
    Recording,
    arrays_apart,
    members_of,
    within,
)
from clear_hug.io.tables import from_columns

# NPY, NPZ

_PICKLED = "holds pickled Python objects, which can run code when they are opened, and is not read"


def is_npy(path: Path, head: bytes) -> bool:
    return head.startswith(b"\x93NUMPY")


def _load_npy(name: str, content: bytes) -> NDArray[Any]:
    """One .npy, after its header was checked against what is there."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
    except Exception:  # numpy evaluates the header as Python's literals: many errors can come of it
        raise ECGError(f"{name} is not a NumPy array, or its header is broken.") from None
    if dtype.hasobject:
        raise ECGError(f"{name} {_PICKLED}.")
    n = int(np.prod([float(k) for k in shape])) if shape else 1
    within("values", n, name)
    if n * dtype.itemsize > len(content) - file.tell():
        raise ECGError(f"{name} is cut short: its header promises {n:,} values.")
    if n * dtype.itemsize < len(content) - file.tell():
        raise ECGError(
            f"{name} holds more bytes than the {n:,} values that its header promises: it is broken."
        )
    file.seek(0)
    array: NDArray[Any] = np.load(file, allow_pickle=False)
    return array


def read_npy(path: Path, asked: Asked) -> Recording:
    within("bytes", path.stat().st_size, path.name)
    values = _load_npy(path.name, path.read_bytes())
    if values.dtype.names:
        arrays = {f"/{name}": values[name] for name in values.dtype.names}
        return choose(path, "NPY", {k: v for k, v in arrays.items() if v.dtype.kind in "iuf"}, {}, asked)
    return from_array(path, "NPY", values, Facts(), asked)


def is_npz(path: Path, head: bytes) -> bool:
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def may_hold_one_record(path: Path) -> bool:
    """Whether an .npy or .npz has an array of leads by samples, by the headers alone: data sets hold many."""
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                shapes = [_shape(file)]
        else:
            with zipfile.ZipFile(path) as archive:
                members = [archive.open(member) for member in archive.infolist()[: LIMITS["files"].most]]
                shapes = [_shape(member) for member in members]
    except Exception:  # a broken file: opening it says so
        return True
    sizes = [sorted(n for n in shape if n > 1) for shape in shapes]
    return any(
        size and (len(size) == 1 or (len(size) == 2 and size[0] <= MOST_LEADS)) and size[-1] >= 100
        for size in sizes
    )


def _shape(file: Any) -> tuple[int, ...]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return tuple(shape) if dtype.kind in "iuf" else ()


def read_npz(path: Path, asked: Asked) -> Recording:
    arrays: dict[str, NDArray[Any]] = {}
    said: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive:
        for member in members_of(archive, path.name):
            with archive.open(member) as file:
                content = file.read(LIMITS["unpacked"].most)
            values = _load_npy(path.name, content)
            name = f"/{Path(member.filename).stem}"
            if values.dtype.kind in "SU" and values.size <= 300:
                texts = [str(t) for t in np.atleast_1d(values).ravel().astype(str)]
                said[name] = texts if len(texts) > 1 else texts[0]
            elif values.dtype.kind in "iuf" and values.size == 1:
                said[name] = float(values.ravel()[0])
            elif values.dtype.kind in "iuf":
                arrays[name] = values
    return choose(path, "NPZ", arrays, said, asked)


# MAT, HDF5, Parquet: by libraries in C, in a process apart


def is_hdf5(path: Path, head: bytes) -> bool:
    magic = b"\x89HDF\r\n\x1a\n"
    return head.startswith(magic) or any(head[at : at + 8] == magic for at in (512, 1024, 2048))


def read_hdf5(path: Path, asked: Asked) -> Recording:
    arrays, said = arrays_apart("HDF5", path)
    kind = "MAT 7.3" if any(place.endswith("@MATLAB_class") for place in said) else "HDF5"
    return choose(path, kind, arrays, said, asked)


def is_mat(path: Path, head: bytes) -> bool:
    """MATLAB 5 by its text, MATLAB 4 by its twenty-byte header of small numbers."""
    if head.startswith(b"MATLAB 5.0 MAT-file"):
        return True
    if len(head) < 24:
        return False
    for order in ("<i4", ">i4"):
        kind, rows, columns, imaginary, name = np.frombuffer(head[:20], order).tolist()
        plausible = 0 <= kind < 5000 and rows > 0 and columns > 0 and imaginary in (0, 1) and 1 < name < 64
        if plausible and re.fullmatch(rb"[A-Za-z]\w*\0", head[20 : 20 + name]):
            return True
    return False


def read_mat(path: Path, asked: Asked) -> Recording:
    arrays, said = arrays_apart("MAT", path)
    recording = choose(path, "MAT", arrays, said, asked)
    if {"/ECG/data", "/ECG/sex", "/ECG/age"} <= {*arrays, *said} and recording.channels[0].fs is None:
        note = "The file is laid out as CPSC2018's are, whose rate is 500 Hz: it is taken."
        channels = [replace(channel, fs=500.0) for channel in recording.channels]
        more = {
            "channels": channels,
            "warnings": (*recording.warnings, note),
            "guessed": (*recording.guessed, "fs"),
        }
        recording = Recording(**{**vars(recording), **more})
    return recording


def is_parquet(path: Path, head: bytes) -> bool:
    return head.startswith(b"PAR1")


def read_parquet(path: Path, asked: Asked) -> Recording:
    arrays, said = arrays_apart("Parquet", path)
    if any(values.ndim > 1 for values in arrays.values()):
        return choose(path, "Parquet", arrays, said, asked)
    columns = {place.lstrip("/"): values for place, values in arrays.items()}
    known = facts(said)
    known = replace(known, gain=None) if known.by_step else known  # whether columns are counts is not told
    return from_columns(path, "Parquet", columns, known, asked)
