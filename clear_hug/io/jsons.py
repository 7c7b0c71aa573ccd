"""JSON of one plain form; FHIR's observations have a room of their own (`fhir.py`).

    {"fs": 500, "unit": "mV", "leads": {"I": [0.01, ...], "II": [...], ...}}

JSON says nothing of what its names mean, and apps lay samples out in any number of ways, so that more could
only be guessed: the rate may be of something else, the leads of two patients. Hence one form. The object of
leads holds leads by their names alone, all of one length; `fs` (Hz) and `unit` stand beside it. What stands
there too and may change what the samples mean is refused.

JSON lines (NDJSON) hold one such object a line, each a record.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import ECGError
from clear_hug.io.limits import LIMITS
from clear_hug.io.recording import (
    Asked,
    Channel,
    Recording,
    asked_row,
    millivolt,
    sex_of,
    some,
    within,
    years,
)
from clear_hug.leads import canonical_lead, lead_number

FEWEST = 100  # samples of a lead
MOST = 1e6  # that a sample may be, in whatever unit
FORM = '{"fs": 500, "unit": "mV", "leads": {"I": [...], "II": [...]}}'

_RATES = ("fs", "sampling_rate", "sample_rate", "sampling_frequency", "samplingRate", "sampleRate")
_UNITS = ("unit", "units")
_CHANGES = re.compile(  # what samples are worth, or when and of whom they are
    r"rate|freq|fs|interval|hz|unit|uom|gain|scal|resol|lsb|per_?bit|per_?count|factor|multipl|offset|baseline|"
    r"zero|adc|delay|shift|skew",
    re.IGNORECASE,
)


def begins_as_json(head: bytes, signs: bytes = b"{[") -> bool:
    """Whether a file begins as an object or a list of JSON; `signs` may name one of the two."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(tuple(bytes([sign]) for sign in signs))


def tree_of(path: Path) -> Any:
    """What a JSON file holds.

    Raises
    ------
    ECGError : too large, or no JSON
    """
    within("text", path.stat().st_size, path.name)
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=_each_once)
    except (ValueError, RecursionError, OverflowError):
        raise ECGError(f"{path.name} is no JSON that can be read: broken, cut short or too deep.") from None


def lines_of(path: Path) -> list[Any]:
    """What each line of a file of JSON lines holds; nothing where it has fewer than two, or is one JSON text.

    Raises
    ------
    ECGError : the first line is JSON by itself, and a later one is none
    """
    within("text", path.stat().st_size, path.name)
    lines = [line for line in path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines() if line.strip()]
    trees: list[Any] = []
    for i, line in enumerate(lines, 1):
        try:
            trees.append(json.loads(line, object_pairs_hook=_each_once))
        except (ValueError, RecursionError, OverflowError):
            if not trees or not isinstance(trees[0], dict):
                return []
            raise ECGError(
                f"{path.name} holds JSON in lines, of which line {i} is broken or cut short; export it again."
            ) from None
    return trees if len(trees) > 1 and isinstance(trees[0], dict) else []


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, each of its names once: of two the last would win in silence."""
    out = dict(pairs)
    if len(out) < len(pairs):
        raise ValueError("a name stands twice")
    return out


def is_json(path: Path, head: bytes) -> bool:
    """JSON with an object of leads by their names, or a line of it that is."""
    if not begins_as_json(head) or path.stat().st_size > LIMITS["text"].most:
        return False
    try:
        return _leads_of(tree_of(path)) is not None
    except ECGError:
        pass
    with path.open("rb") as file:
        first = next((line for line in file if line.strip(b"\xef\xbb\xbf \t\r\n")), b"")
    try:
        return _leads_of(json.loads(first.removeprefix(b"\xef\xbb\xbf"))) is not None
    except (ValueError, RecursionError, OverflowError):
        return False


def why_not_json(path: Path) -> str:
    """Why a file that begins as JSON is not read, in a sentence."""
    try:
        if not lines_of(path):
            tree_of(path)
    except ECGError as error:
        return str(error)
    return (
        f"{path.name} is no JSON of the form that is read: {FORM}, with at least {FEWEST} samples a lead, or "
        "an observation of FHIR. Save it so, or as CSV with a column a lead."
    )


def _leads_of(tree: Any) -> dict[str, Any] | None:
    """The object of leads."""
    leads = tree.get("leads") if isinstance(tree, dict) else None
    if isinstance(leads, dict) and any(
        canonical_lead(name.lstrip("-")) and _samples(x) for name, x in leads.items()
    ):
        return leads
    return None


def _samples(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= FEWEST and isinstance(value[0], int | float | None)


def read_json(path: Path, asked: Asked) -> Recording:
    """The leads of the plain form.

    Raises
    ------
    ECGError : something beside them may change what they mean, or they are not all leads of one length
    """
    trees, note = lines_of(path), []
    if trees:
        row = asked_row(path, f"{len(trees):,} lines, a record each", len(trees), asked)
        note = [f"Record {row + 1:,} of the {len(trees):,} in the file is read."]
    tree = trees[row] if trees else tree_of(path)
    leads = _leads_of(tree)
    if leads is None:
        raise ECGError(
            f"{path.name} holds no ECG in line {row + 1:,}; expected {FORM}." if trees else why_not_json(path)
        )
    known = {*_RATES, *_UNITS, "leads"}
    if odd := [name for name in tree if name not in known and _CHANGES.search(name)]:
        raise ECGError(
            f"{path.name} says something of “{_CHANGES.findall(odd[0])[0]}” beside its leads, which may "
            f"change what they mean; expected {FORM}."
        )
    fs, unit = _one(path, tree, _RATES), _one(path, tree, _UNITS)
    if fs is not None and not (isinstance(fs, int | float) and not isinstance(fs, bool) and 0 < fs < MOST):
        raise ECGError(f"{path.name} gives a rate that is no number of Hz; expected {FORM}.")
    if unit is not None and (not isinstance(unit, str) or millivolt(unit) is None):
        raise ECGError(f"{path.name} gives a unit that is no voltage; expected {FORM}.")
    channels = [Channel(name, _numbers(path, x), fs, unit or "") for name, x in _checked(path, leads).items()]
    sizes = sorted({channel.samples.size for channel in channels})
    if len(sizes) > 1:
        raise ECGError(
            f"{path.name} has leads of {sizes[0]:,} to {sizes[-1]:,} samples, and nothing says how they lie "
            "in time; save leads of one length."
        )
    said = (
        ["What stands beside the leads is not read, but age and sex."]
        if set(tree) - known - {"age", "sex"}
        else []
    )
    return Recording(
        "JSON", channels, years(tree.get("age")), sex_of(tree.get("sex")), (*note, *said), bare=True,
        records=max(1, len(trees)),
    )  # fmt: skip


def _one(path: Path, tree: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The one value that stands under some names."""
    found = [name for name in names if tree.get(name) is not None]
    if len(found) > 1:
        raise ECGError(f"{path.name} gives both {found[0]} and {found[1]}; keep one.")
    return tree[found[0]] if found else None


def _checked(path: Path, leads: dict[str, Any]) -> dict[str, Any]:
    """Leads by their names, none of them counted ("lead_0", "lead_1"), none twice, none something else."""
    for name in leads:
        lead = canonical_lead(name.lstrip("-"))
        if lead is None or lead_number(name.replace("_", " ")) is not None:
            raise ECGError(
                f"{path.name} holds something among its leads that is no lead by its name; expected names "
                "such as I, aVR, V1."
            )
    names = [canonical_lead(name.lstrip("-")) for name in leads]
    if twice := {str(name) for name in names if names.count(name) > 1}:
        raise ECGError(f"{path.name} holds lead {some(sorted(twice))} twice; keep one of the two.")
    return leads


def _numbers(path: Path, values: Any) -> NDArray[np.float64]:
    """(sample,), NaN for null."""
    plain = isinstance(values, list) and all(
        x is None or (isinstance(x, int | float) and not isinstance(x, bool) and not abs(x) > MOST)
        for x in values
    )
    if not plain:
        raise ECGError(
            f"{path.name} holds a lead that is no list of numbers (null where a sample is absent)."
        )
    return np.array([np.nan if x is None else float(x) for x in values])
