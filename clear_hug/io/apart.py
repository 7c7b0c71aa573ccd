"""Libraries in C that a crafted file can crash, stall or blow up run here, in a process of their own.

`read_apart` starts this file as a script: it imports nothing of the package, holds itself to limits of
memory and time, and hands back plain arrays. HDF5 (and MAT 7.3) through h5py, older MAT through scipy,
Parquet through pyarrow, XLSX through openpyxl. What would lead out of the file (HDF5's external and soft
links, external storage, virtual data sets) or run code (pickled objects) is refused by name.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_NODES = 10_000  # of a tree of groups or structs
MOST_DEPTH = 12
FEWEST_ROWS = 100  # of a table whose rows are samples
MOST_SAID = 60  # lines of a sheet that may say what another holds
MOST_TEXT = 200  # characters of a value that may say a rate, a unit or a lead


class Refused(Exception):
    """A sentence about the file, without its name."""


def read_apart(
    kind: str, path: Path, most_values: int, most_bytes: int, seconds: float
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Numeric arrays by their place in the file, and short texts and numbers that may say what they are.

    Parameters
    ----------
    kind : a key of `LIBRARIES`
    most_values, most_bytes, seconds : limits of what is read, of memory, and of time

    Raises
    ------
    Refused : the file is none, is hostile, or exceeds a limit; in words that go on from its name
    """
    from clear_hug.io.private import private_folder  # not known in the process apart

    with private_folder() as folder:
        limits = json.dumps({"values": most_values, "bytes": most_bytes, "seconds": int(seconds) + 1})
        command = [sys.executable, "-I", __file__, kind, str(path.resolve()), str(folder), limits]
        try:
            done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            raise Refused(f"takes longer than {seconds:g} s to read, and was given up") from None
        if done.returncode == 3:
            raise Refused(done.stdout.decode("utf-8", errors="replace").strip()[:300])
        if done.returncode != 0:
            raise Refused("is broken, or needs more memory than a file of its kind may")
        about = json.loads((folder / "about.json").read_bytes())
        arrays = {}
        for i, name in enumerate(about["arrays"]):
            arrays[name] = np.load(folder / f"{i}.npy", allow_pickle=False)
        return arrays, about["said"]


# From here on: the process apart.


class _Found:
    """What a library found, counted."""

    def __init__(self, most_values: int) -> None:
        self.arrays: dict[str, Any] = {}
        self.said: dict[str, Any] = {}
        self.left, self.nodes = most_values, 0

    def node(self) -> None:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise Refused(f"holds more than {MOST_NODES:,} parts")

    def room(self, n: int) -> None:
        self.left -= n
        if n < 0 or self.left < 0:
            raise Refused("claims more values than are read at once")

    def add(self, name: str, value: Any) -> None:
        """Keep an array of numbers, or a short text or number."""
        array = np.asarray(value)
        if array.dtype.kind == "O":
            flat = array.ravel()[:300]
            if array.size <= 300 and all(isinstance(x, str | bytes) for x in flat):
                array = np.array([_text(x) for x in flat])
        if array.dtype.kind in "SU":
            texts = [_text(x)[:MOST_TEXT] for x in np.atleast_1d(array).ravel()[:300]]
            self.said[name] = texts if len(texts) > 1 else (texts[0] if texts else "")
        elif array.dtype.kind in "iuf" and array.size > 1:
            self.arrays[name] = array
        elif array.dtype.kind in "iuf" and array.size == 1:
            self.said[name] = float(array.ravel()[0])


def _text(value: Any) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def _hdf5(path: str, found: _Found) -> None:
    import h5py

    def attributes(place: str, thing: Any) -> None:
        for key in list(thing.attrs)[:200]:
            try:
                ieee(thing.attrs.get_id(key).get_type())
                value = thing.attrs[key]
            except (OSError, TypeError, ValueError, RuntimeError):
                continue
            if np.size(value) <= 300 and (place, key) != ("", "MATLAB_class"):
                found.add(f"{place}@{key}", value)

    def ieee(kind: Any) -> None:
        """HDF5 takes floats of any layout: one broken bit of theirs, and all its numbers are others."""
        if isinstance(kind, h5py.h5t.TypeFloatID) and not any(kind.equal(one) for one in standard):
            raise Refused("stores numbers that are no IEEE floats: it is broken, or not meant for exchange")

    def walk(group: Any, place: str, depth: int, seen: frozenset[Any]) -> None:
        if depth > MOST_DEPTH:
            raise Refused("is nested too deep")
        attributes(place, group)
        for name in group:
            found.node()
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise Refused(
                    "holds an HDF5 external link, which would lead to another file, and is not read"
                )
            if isinstance(link, h5py.SoftLink) or name == "#refs#":
                continue  # what it points at is met where it lies
            thing = group[name]
            here = f"{place}/{name}"
            if isinstance(thing, h5py.Group):
                if thing.id in seen:
                    continue
                walk(thing, here, depth + 1, seen | {thing.id})
            elif isinstance(thing, h5py.Dataset):
                _dataset(thing, here)

    def _dataset(thing: Any, here: str) -> None:
        if thing.is_virtual or thing.external:
            raise Refused("stores its data in other files (HDF5 virtual or external), and is not read")
        attributes(here, thing)
        if thing.shape is None:
            return
        text = h5py.check_string_dtype(thing.dtype) is not None or thing.dtype.kind in "SU"
        if thing.dtype.kind in "iuf":
            found.room(thing.size)
            ieee(thing.id.get_type())
            value = _without_lost_chunks(thing, thing[()])
            # MATLAB 7.3 stores a text as the numbers of its characters, and arrays turned.
            kind = _text(thing.attrs.get("MATLAB_class", b""))
            if kind == "char":
                found.add(here, "".join(map(chr, np.ravel(value)[:MOST_TEXT].tolist())))
            else:
                found.add(here, value.T if kind else value)
        elif text and thing.size <= 300:
            found.add(here, thing[()])

    names = [f"IEEE_F{bits}{order}E" for bits in (16, 32, 64) for order in "LB"]
    standard = [getattr(h5py.h5t, name) for name in names]
    with h5py.File(path, "r", locking=False) as file:
        walk(file, "", 0, frozenset())


def _without_lost_chunks(dataset: Any, value: NDArray[Any]) -> NDArray[Any]:
    """NaN where a chunk is not in the file: HDF5 would fill its place, with zeros for the most part."""
    if not dataset.chunks:
        return value
    there: set[tuple[int, ...]] = set()
    dataset.id.chunk_iter(lambda chunk: there.add(chunk.chunk_offset))
    steps = [range(0, n, step) for n, step in zip(dataset.shape, dataset.chunks, strict=True)]
    if len(there) >= prod(map(len, steps)) and there == set(product(*steps)):
        return value
    value = value.astype(np.result_type(value, np.float32))
    for corner in product(*steps):
        if corner not in there:
            value[tuple(slice(a, a + n) for a, n in zip(corner, dataset.chunks, strict=True))] = np.nan
    return value


def _mat(path: str, found: _Found) -> None:
    from scipy.io import loadmat, whosmat

    for _, shape, _ in whosmat(path):
        found.room(int(np.prod([float(n) for n in shape])) if shape else 1)

    def each(value: NDArray[Any], place: str) -> Iterator[tuple[str, Any]]:
        """The elements of a struct or cell array, each at a place of its own."""
        for i, element in enumerate(value.ravel()[:64], 1):
            yield (place if value.size == 1 else f"{place}({i})"), element

    def walk(value: Any, place: str, depth: int) -> None:
        found.node()
        if depth > MOST_DEPTH:
            raise Refused("is nested too deep")
        if isinstance(value, np.ndarray) and value.dtype.names:
            for here, element in each(value, place):
                for field in value.dtype.names:
                    walk(element[field], f"{here}/{field}", depth + 1)
        elif isinstance(value, np.ndarray) and value.dtype.kind == "O":
            texts = [
                str(np.ravel(x)[0])
                for x in value.ravel()[:300]
                if np.asarray(x).dtype.kind == "U" and np.size(x)
            ]
            if texts and len(texts) == value.size:
                found.add(place, np.array(texts))
            else:
                for here, element in each(value, place):
                    walk(element, here, depth + 1)
        else:
            found.add(place, value)

    for name, value in loadmat(path, verify_compressed_data_integrity=True).items():
        if not name.startswith("__"):
            walk(value, f"/{name}", 0)


def _parquet(path: str, found: _Found) -> None:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    if file.metadata.num_columns > 1000:
        raise Refused(f"holds {file.metadata.num_columns:,} columns")
    found.room(file.metadata.num_rows * file.metadata.num_columns)
    for key, value in (file.schema_arrow.metadata or {}).items():
        if len(value) <= MOST_TEXT:
            found.add(f"@{_text(key)}", _text(value))
    table = file.read(use_threads=False)
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = column.to_numpy()
        if name.startswith("__index_level") and values.dtype.kind not in "Mm":
            continue
        if values.dtype.kind == "O" and len(values) == 1 and isinstance(values[0], np.ndarray):
            values = values[0]  # a row a record, a list a lead, or one of all leads
            if values.dtype.kind == "O" and len({np.shape(lead) for lead in values}) == 1:
                values = np.stack(values.tolist())
        if not len(values):
            continue
        if values.dtype.kind == "O" and isinstance(values[0], str) and len(set(values)) == 1:
            found.add(f"/{name}", values[0])  # the same in each row
            continue
        if values.dtype.kind == "O" and len(values) < FEWEST_ROWS and isinstance(values[0], np.ndarray):
            raise Refused(
                f"holds {len(values)} rows of lists, a record or a lead each; save one record alone, with "
                "a column a lead and a row a sample, or all its leads in one row"
            )
        if values.dtype.kind == "O":
            try:
                values = values.astype(np.float64)
            except (TypeError, ValueError):
                continue
        if values.dtype.kind in "Mm":
            values = (values - values[0]) / np.timedelta64(1, "s")
            name = f"time (s) {name}"
        found.add(f"/{name}", values)


def _xlsx(path: str, found: _Found) -> None:
    """The longest sheet as text, a line a row, tabs between cells; how many others are half as long.

    Beside it what the shortest ones say, which may be about it.
    """
    from openpyxl import load_workbook

    content = io.BytesIO(Path(path).read_bytes())  # by its name openpyxl would judge the extension
    book = load_workbook(content, read_only=True, data_only=True, keep_links=False)
    sheets = []
    for sheet in book.worksheets[:20]:
        lines = list(_lines(sheet, found))
        sheets.append(lines)
    longest = max(sheets, key=len, default=[])
    found.said["other sheets"] = sum(2 * len(lines) > len(longest) for lines in sheets) - bool(longest)
    short = [lines for lines in sheets if lines is not longest and len(lines) <= MOST_SAID]
    found.said["beside"] = "\n".join(line[:MOST_TEXT] for lines in short for line in lines)
    text = "\n".join(longest).encode()
    found.arrays["text"] = np.frombuffer(text or b"\n", dtype=np.uint8)


def _lines(sheet: Any, found: _Found) -> Iterator[str]:
    for row in sheet.iter_rows(values_only=True):
        found.room(len(row))
        cells = ["" if cell is None else str(cell).replace("\t", " ").replace("\n", " ") for cell in row]
        yield "\t".join(cells).rstrip("\t")


LIBRARIES = {"HDF5": _hdf5, "MAT": _mat, "Parquet": _parquet, "XLSX": _xlsx}


def _main(kind: str, path: str, folder: str, limits: str) -> int:
    try:
        import resource
    except ImportError:  # no such limits on Windows; the time limit still holds
        resource = None  # type: ignore[assignment]
    bounds = json.loads(limits)
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_AS, (bounds["bytes"], bounds["bytes"]))
        resource.setrlimit(resource.RLIMIT_CPU, (bounds["seconds"], bounds["seconds"]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    found = _Found(bounds["values"])
    try:
        LIBRARIES[kind](path, found)
        for i, array in enumerate(found.arrays.values()):
            np.save(Path(folder) / f"{i}.npy", array, allow_pickle=False)
        about = {"arrays": list(found.arrays), "said": found.said}
        (Path(folder) / "about.json").write_text(json.dumps(about))
    except Refused as refused:
        sys.stdout.write(str(refused))
        return 3
    except MemoryError:
        sys.stdout.write("needs more memory than a file of its kind may")
        return 3
    except Exception as error:  # the library's message may quote the file: only its kind is told
        sys.stdout.write(f"cannot be read as {kind} ({type(error).__name__})")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:5]))
