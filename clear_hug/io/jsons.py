"""JSON of apps and notebooks: arrays of numbers under any names (FHIR's has a room of its own, `fhir.py`)."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import ECGError
from clear_hug.io.arrays import from_arrays
from clear_hug.io.facts import ORDERS
from clear_hug.io.recording import Asked, Recording, asked_row, millivolt, within
from clear_hug.leads import canonical_lead

MOST_DEPTH = 24  # of what lies in one another
FEWEST = 100  # numbers after one another that may be samples
LOOKED_THROUGH = 1_000_000  # bytes of a file, for what may be samples
_TEXT = 200  # characters of a value that may say a rate, a unit or a lead

_ONE = r"(?:-?\d[\d.eE+-]{0,30}|null|[ELU])"
_RUN = re.compile(rf"(?:{_ONE}[\"\s]{{0,8}}[\s,;\]][\"\s,\[]{{0,60}}){{{FEWEST - 1}}}{_ONE}".encode())
_PAIRS = re.compile(rb'"(?:\d{1,9}|(?:lead[\s_-]?)?(?:I|II|V[1-6]))"\s{0,8}:\s{0,8}-?\d', re.IGNORECASE)


def begins_as_json(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")


def beginning(path: Path) -> bytes:
    """So much of a file that samples, where there are any, have begun."""
    with path.open("rb") as file:
        return file.read(LOOKED_THROUGH)


def tree_of(path: Path) -> Any:
    """What a JSON file holds.

    Raises
    ------
    ECGError : too large, broken or cut short
    """
    within("text", path.stat().st_size, path.name)
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise ECGError(f"{path.name} begins as JSON does, and is none: it is broken or cut short.") from None


def is_json(path: Path, head: bytes) -> bool:
    """A text that begins as JSON does and has what may be samples near its beginning."""
    if not begins_as_json(head):
        return False
    text = beginning(path)
    return bool(_RUN.search(text) or _PAIRS.search(text))


def read_json(path: Path, asked: Asked) -> Recording:
    """The arrays of the file, by their names."""
    tree = tree_of(path)
    arrays: dict[str, NDArray[Any]] = {}
    said: dict[str, Any] = {}
    note: list[str] = []
    if several := _records(tree):
        row = asked_row(path, f"{len(several):,} records", len(several), asked)
        tree, note = several[row], [f"Record {row + 1:,} of the {len(several):,} in the file is read."]
    _walk(tree, "", arrays, said, path)
    recording = from_arrays(path, "JSON", arrays, said, replace(asked, record=None) if several else asked)
    return replace(
        recording, warnings=(*note, *recording.warnings), records=len(several) or recording.records
    )


def _plain(values: Any) -> bool:
    """Numbers alone, or null for what is absent."""
    return all(x is None or (isinstance(x, int | float) and not isinstance(x, bool)) for x in values)


def _numbers(values: list[Any]) -> NDArray[np.float64]:
    return np.array([np.nan if x is None else float(x) for x in values])


# Arrays by name


def _walk(
    value: Any, place: str, arrays: dict[str, NDArray[Any]], said: dict[str, Any], path: Path, depth: int = 0
) -> None:
    """Arrays by their place in the tree, and the short texts and numbers that may say what they are."""
    if depth > MOST_DEPTH:
        raise ECGError(f"{path.name} has more than {MOST_DEPTH} levels within one another.")
    if isinstance(value, list):
        value = _columns(value) or _by_lead(path, place, value) or value
    elif isinstance(value, dict):
        value = _split(value) or _counted(value) or value
    if isinstance(value, dict):
        for key, inner in value.items():
            array = _only_array(inner) if canonical_lead(str(key)) else None
            if array is not None:  # {"I": {"samples": [...], "unit": "mV"}}
                _walk(
                    {k: v for k, v in inner.items() if v is not array}, f"{place}/{key}", arrays, said, path
                )
                inner = array
            _walk(inner, f"{place}/{key}", arrays, said, path, depth + 1)
    elif isinstance(value, str):
        array = _from_text(value)
        if array is None:
            said[place] = value[:_TEXT]
        else:
            arrays[place] = array
    elif isinstance(value, list):
        array = _array(value)
        if array is not None:
            arrays[place] = array
        elif value and all(isinstance(x, str) for x in value):
            said[place] = [x[:_TEXT] for x in value[:300]]
        else:
            for i, inner in enumerate(value[:300]):
                _walk(inner, f"{place}/{i}", arrays, said, path, depth + 1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        said[place] = value


def _array(value: list[Any]) -> NDArray[np.float64] | None:
    """Numbers, or lists of as many numbers each, or of such lists."""
    if len(value) < 2:
        return _array(value[0]) if value and isinstance(value[0], list) else None
    if _plain(value):
        return _numbers(value)
    if all(isinstance(x, str) for x in value):
        return _from_text(" ".join(value)) if len(value) >= FEWEST else None
    if all(isinstance(x, list) for x in value):
        rows = [_array(x) for x in value]
        first = rows[0]
        if first is not None and all(row is not None and row.shape == first.shape for row in rows):
            return np.stack([row for row in rows if row is not None])
    return None


def _from_text(text: str) -> NDArray[np.float64] | None:
    """Numbers that stand in a text, between spaces, commas or semicolons."""
    if len(text) < 2 * FEWEST:
        return None
    words = re.split(r"[\s,;]+", text.strip(" \t\r\n,;[]"))
    if len(words) < FEWEST:
        return None
    try:
        return np.array(words, dtype=np.float64)
    except ValueError:
        return None


def _columns(rows: list[Any]) -> dict[str, Any] | None:
    """A row of numbers by name for each sample ([{"t": 0, "I": .1}, ...]) as columns."""
    if len(rows) < FEWEST or not all(isinstance(row, dict) and _plain(row.values()) for row in rows):
        return None
    return {name: [row.get(name) for row in rows] for name in dict.fromkeys(k for row in rows for k in row)}


def _split(value: dict[str, Any]) -> dict[str, Any] | None:
    """`columns` and rows of `data` beside each other, as pandas splits a table."""
    names, rows = value.get("columns"), value.get("data")
    if not (isinstance(names, list) and isinstance(rows, list) and rows):
        return None
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        return None
    rest = {key: inner for key, inner in value.items() if key not in ("columns", "data", "index")}
    return rest | {
        str(name): list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def _counted(value: dict[str, Any]) -> dict[str, Any] | None:
    """Samples by their number ({"I": {"0": .1, "1": .2, ...}}) as lists, in their order."""
    out = {
        key: [inner[k] for k in sorted(inner, key=int)]
        for key, inner in value.items()
        if isinstance(inner, dict)
        and len(inner) >= FEWEST
        and all(re.fullmatch(r"\d{1,9}", k) for k in inner)
        and _plain(inner.values())
    }
    return value | out if out else None


def _only_array(value: Any) -> Any:
    """What holds the samples in an object of one lead."""
    if not isinstance(value, dict):
        return None
    found = [x for x in value.values() if _long(x)]
    return found[0] if len(found) == 1 else None


def _long(value: Any) -> bool:
    """Whether a value is the samples of one lead."""
    if isinstance(value, str):
        return _from_text(value) is not None
    return isinstance(value, list) and len(value) >= FEWEST and _plain(value)


def _lead_of(value: dict[str, Any]) -> str | None:
    """The name of the lead that an object of samples is of, where one of its texts is such a name."""
    texts = [x for x in value.values() if isinstance(x, str) and len(x) < _TEXT]
    return next((text for text in texts if canonical_lead(text)), None)


def _by_lead(path: Path, place: str, value: list[Any]) -> dict[str, Any] | None:
    """An object for each lead ([{"lead": "I", "samples": [...]}, ...]) as an array by its name.

    What they say alike is said of all; where they contradict each other on the unit or the rate, the file
    is refused.
    """
    if not value or not all(isinstance(x, dict) and _only_array(x) is not None for x in value):
        return None
    names = [_lead_of(x) for x in value]
    if not any(names) and len(value) in ORDERS:
        return {"ecg": [_only_array(x) for x in value], **_alike(path, value)}
    if sum(name is not None for name in names) < (len(value) + 1) // 2:
        return None
    out: dict[str, Any] = {}
    for i, (name, one) in enumerate(zip(names, value, strict=True)):
        name = name if name is not None else f"channel {i + 1}"
        if name in out:
            raise ECGError(f"{path.name} holds lead {name[:20]} twice; save one record by itself.")
        out[name] = _only_array(one)
    return out | {key: x for key, x in _alike(path, value).items() if key not in out}


def _alike(path: Path, value: list[dict[str, Any]]) -> dict[str, Any]:
    """What objects of a lead each say beside the samples: once where they agree, else the numbers of all."""
    out: dict[str, Any] = {}
    for key in dict.fromkeys(k for one in value for k in one):
        each = [one.get(key) for one in value]
        plain = [x for x in each if isinstance(x, str | int | float) and not isinstance(x, bool)]
        if len(plain) < len(each) or any(map(_long, plain)):
            continue
        different = len({str(x).strip().lower() for x in plain}) > 1
        units = {millivolt(x) for x in plain if isinstance(x, str)} - {None}
        if len(units) > 1 or (different and _RATE.search(key)):
            raise ECGError(
                f"{path.name} gives its leads several values of {key[:30]}, which cannot be read together; "
                "save leads of one unit and one rate."
            )
        if not different:
            out[key] = plain[0]
        elif _plain(plain):
            out[key] = plain  # a gain of each lead, say
    return out


_RATE = re.compile(r"fs$|rate|freq|hz", re.IGNORECASE)


def _records(tree: Any) -> list[Any]:
    """The records of a list of such: objects that each hold arrays of samples, and are no leads of one."""
    if isinstance(tree, dict) and len(tree) == 1:
        tree = next(iter(tree.values()))
    if not isinstance(tree, list) or len(tree) < 2 or not all(isinstance(x, dict) for x in tree):
        return []
    if all(_only_array(x) is not None for x in tree) and (any(map(_lead_of, tree)) or len(tree) in ORDERS):
        return []
    return tree if all(_holds_samples(x) for x in tree) else []


def _holds_samples(value: Any, depth: int = 0) -> bool:
    if _long(value):
        return True
    if depth > MOST_DEPTH or not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return any(_holds_samples(x, depth + 1) for x in inner)
