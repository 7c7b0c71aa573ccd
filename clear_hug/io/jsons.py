"""JSON of apps and notebooks: leads by their names (FHIR's has a room of its own, `fhir.py`).

JSON says nothing of what its names mean, so little is taken for granted. Samples are read where a lead's
name stands at them: as a key, in the object of a lead, in the heading of a table, or in a list of names
beside a matrix. Rate, unit and gain are read from the objects around the samples, the nearest first, and not
from elsewhere in the tree. What leads say differently of themselves (a unit, a rate, a time, a patient) is
refused: they are then no ECG that was recorded at once. Several groups of leads are several records.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import WRONG_GAIN, ECGError
from clear_hug.io.arrays import BITS, MOST_LEADS, from_array
from clear_hug.io.facts import ORDERS, Facts, facts, means_rate, means_unit
from clear_hug.io.layout import TIME
from clear_hug.io.limits import LIMITS
from clear_hug.io.recording import Asked, Recording, asked_row, some, within
from clear_hug.io.tables import from_columns
from clear_hug.leads import canonical_lead

FEWEST = 100  # numbers after one another that may be the samples of a lead
MOST_DEPTH = 24  # of what lies in one another
_TEXT = 200  # characters of a value that may say a rate, a unit or a lead

_NAME = re.compile(
    r"^((lead|channel|signal)?[\s_]?(name|label|title|code|id)|lead|channel|chan|derivation)$", re.IGNORECASE
)
_SAMPLES = re.compile(
    r"^(samples?|data|values?|signals?|ecg|ekg|voltages?|wave_?forms?(_?samples)?|amplitudes?|[um]?v|y|raw|points)$",
    re.IGNORECASE,
)
# What leads of one ECG say alike, where they say it of themselves.
_ALIKE = re.compile(
    r"unit|uom|(^|_)fs$|rate|freq|hz$|gain|scal|resol|lsb|factor|offset|baseline|zero|start|begin|date|time|delay|"
    r"patient|subject|person|session|record",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"^(number|no|nr|index|idx|channel|lead|id)$", re.IGNORECASE)
_AVERAGED = re.compile(r"median|average|template|representative|mean", re.IGNORECASE)
_APART = re.compile(  # objects that speak of something else than the trace
    r"filter|heart|^hr$|battery|device|ppg|pleth|resp|accel|spo2|temperature|calibration|display|plot|paper",
    re.IGNORECASE,
)
_PERSON = re.compile(r"patient|subject|person|demograph", re.IGNORECASE)
_BARE_RATE = re.compile(r"^(freq|frequency|rate|hz|sps)$", re.IGNORECASE)  # of what?
_WORTH = re.compile(r"scal|resol|lsb|multipl|factor|gain", re.IGNORECASE)  # of a count, perhaps

Floats = NDArray[np.float64]


# The tree


def begins_as_json(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0")[:1] in (b"{", b"[")


def tree_of(path: Path) -> Any:
    """What a JSON file holds.

    Raises
    ------
    ECGError : too large, or no JSON
    """
    within("text", path.stat().st_size, path.name)
    stat = path.stat()
    return _tree(str(path), (stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=1)
def _tree(name: str, stamp: tuple[int, int]) -> Any:
    """Parsed once for whoever asks what it is, and then to be read."""
    path = Path(name)
    content = path.read_bytes()
    try:
        try:
            return json.loads(content)
        except UnicodeDecodeError:
            return json.loads(content.decode("cp1252", errors="replace"))
    except (ValueError, RecursionError) as error:
        more = " It holds several JSON texts; save one by itself." if "Extra data" in str(error) else ""
        raise ECGError(
            f"{path.name} is no JSON that can be read: broken, cut short or too deep.{more}"
        ) from None


def is_json(path: Path, head: bytes) -> bool:
    """JSON with samples under the names of leads, or one matrix of them."""
    if not begins_as_json(head) or path.stat().st_size > LIMITS["text"].most:
        return False
    try:
        tree = tree_of(path)
    except ECGError:
        return False
    try:
        return next(_groups(tree), None) is not None
    except ECGError:  # there are leads, and reading says what is wrong with them
        return True


def why_not_json(path: Path) -> str:
    """Why a file that should be JSON is not read, in a sentence."""
    try:
        tree_of(path)
    except ECGError as error:
        return str(error)
    return (
        f"{path.name} holds no leads of an ECG that can be found: expected at least {FEWEST} samples under "
        'the name of each lead, for example {"fs": 500, "unit": "mV", "leads": {"I": [...], "II": [...]}}.'
    )


# Numbers


def _plain(values: Any) -> bool:
    """Numbers alone, or null for what is absent."""
    return all(x is None or (isinstance(x, int | float) and not isinstance(x, bool)) for x in values)


def _numbers(values: Sequence[Any]) -> Floats:
    return np.array([np.nan if x is None else float(x) for x in values])


def _samples(value: Any) -> Floats | None:
    """The samples of one lead: a list, a text of numbers, or numbers by their count ({"0": .1, ...})."""
    if isinstance(value, list) and len(value) >= FEWEST:
        if _plain(value):
            return _numbers(value)
        return _of_texts(value) if all(isinstance(x, str) for x in value) else None
    if isinstance(value, str) and len(value) >= 2 * FEWEST:
        if re.search(r"[,;]", value):
            separator = ";" if ";" in value else ","
            return _of_texts(value.strip("[] ").removesuffix(separator).split(separator))
        return _of_texts(value.strip("[] ").split())
    if isinstance(value, dict) and len(value) >= FEWEST:
        if all(re.fullmatch(r"\d{1,9}", key) for key in value) and _plain(value.values()):
            return _numbers([value[key] for key in sorted(value, key=int)])
    return None


def _of_texts(texts: Sequence[str]) -> Floats | None:
    """Numbers that are written as texts, an empty one absent; None where one is none (a decimal comma)."""
    try:
        return (
            np.array([float(text) if text.strip() else np.nan for text in texts])
            if len(texts) >= FEWEST
            else None
        )
    except ValueError:
        return None


def _matrix(value: Any) -> Floats | None:
    """Lists of as many numbers each: leads by samples, or samples by leads."""
    if not isinstance(value, list) or len(value) < 2 or not isinstance(value[0], list):
        return None
    n = len(value[0])
    few, many = sorted((len(value), n))
    if few < 2 or few > MOST_LEADS or many < FEWEST:
        return None
    if not all(isinstance(row, list) and len(row) == n and _plain(row) for row in value):
        return None
    return np.stack([_numbers(row) for row in value])


# Groups of leads


@dataclass(frozen=True)
class Group:
    """Leads that were recorded at once.

    columns : name -> samples, times beside them among these;  matrix : in their place, leads without names
    around : the objects that it lies in, the nearest last;  said : what its leads say of themselves, alike
    keys : where it lies;  left_out : arrays beside the samples that are none of a lead's
    lost : leads that are named and have no samples
    """

    columns: Mapping[str, Floats]
    around: tuple[dict[str, Any], ...]
    keys: tuple[str, ...]
    matrix: Floats | None = None
    said: Mapping[str, Any] = field(default_factory=dict)
    left_out: int = 0
    lost: tuple[str, ...] = ()


def _groups(
    node: Any, around: tuple[dict[str, Any], ...] = (), keys: tuple[str, ...] = ()
) -> Iterator[Group]:
    """The groups of a tree, in its order."""
    if len(keys) > MOST_DEPTH:
        return
    if isinstance(node, dict):
        here = (*around, node)
        found, used = _in_object(node, here, keys)
        yield from found
        for key, value in node.items():
            if key not in used:
                yield from _groups(value, here, (*keys, key))
    elif isinstance(node, list) and node and isinstance(node[0], dict | list):
        found = _in_list(node, around, keys)
        yield from found
        if not found:
            for i, value in enumerate(node):
                yield from _groups(value, around, (*keys, str(i)))


def _in_object(
    node: dict[str, Any], here: tuple[dict[str, Any], ...], keys: tuple[str, ...]
) -> tuple[list[Group], set[str]]:
    """Groups that an object itself makes, and the keys that they are made of."""
    arrays = {key: x for key, value in node.items() if (x := _samples(value)) is not None}
    leads = [key for key in node if _is_lead(key)]
    if any(key in arrays for key in leads):
        columns = {key: x for key, x in arrays.items() if key in leads or TIME.match(key)}
        lost = tuple(key for key in leads if key not in arrays and isinstance(node[key], str | list | dict))
        left_out = len(arrays) - len(columns)
        return [Group(_of_one_length(columns), here, keys, left_out=left_out, lost=lost)], {*arrays, *lost}
    objects = {key: node[key] for key in leads if isinstance(node[key], dict) and _has_samples(node[key])}
    if objects:
        lost = tuple(key for key in leads if key not in objects and isinstance(node[key], str | list | dict))
        return [replace(_of_objects(objects, here, keys), lost=lost)], {*objects, *lost}
    names, rows = node.get("columns"), node.get("data")  # as pandas splits a table
    if isinstance(names, list) and isinstance(rows, list) and len(rows) >= FEWEST:
        if all(isinstance(row, list) and len(row) == len(names) for row in rows) and any(
            map(_is_lead, names)
        ):
            table = {str(name): [row[i] for row in rows] for i, name in enumerate(names)}
            columns = {name: _numbers(column) for name, column in table.items() if _plain(column)}
            return [Group(columns, here, keys)], {"columns", "data"}
    matrices = {key: x for key, value in node.items() if (x := _matrix(value)) is not None}
    if matrices:
        return [_of_matrix(x, here, keys) for x in matrices.values()], set(matrices)
    name = _name_of(node)
    if name and arrays:  # an object of one lead by itself
        return [_of_objects({name: node}, here, keys)], set(arrays)
    alone = [key for key in arrays if _SAMPLES.match(key)]
    if len(alone) == 1:
        return [Group({}, here, keys, arrays[alone[0]][None])], set(arrays)
    return [], set()


def _in_list(node: list[Any], around: tuple[dict[str, Any], ...], keys: tuple[str, ...]) -> list[Group]:
    """The group that a list makes: rows of a table, objects of a lead each, or a matrix."""
    matrix = _matrix(node)
    if matrix is not None:
        return [_of_matrix(matrix, around, keys)]
    if not all(isinstance(x, dict) for x in node):
        return []
    first = node[0].keys()
    if len(node) >= FEWEST and any(map(_is_lead, first)):  # a row a sample
        if not all(row.keys() == first for row in node):
            raise ECGError("the rows of its table have not all the same columns.")
        table = {name: [row[name] for row in node] for name in first}
        columns = {name: _numbers(column) for name, column in table.items() if _plain(column)}
        return [Group(columns, around, keys)] if any(map(_is_lead, columns)) else []
    names = [_name_of(x) for x in node]
    if any(names) and any(map(_has_samples, node)):
        objects: dict[str, dict[str, Any]] = {}
        lost = []
        for i, (name, one) in enumerate(zip(names, node, strict=True)):
            name = name or f"channel {i + 1}"
            if name in objects:
                return []  # of several records, each with leads of its own
            if _has_samples(one):
                objects[name] = one
            else:
                lost.append(name)
        return [replace(_of_objects(objects, around, keys), lost=tuple(lost))]
    if not all(map(_has_samples, node)):
        return []
    if len(node) in ORDERS and len(node) > 1 and not _differ(node):  # channels without names
        numbers = [[v for k, v in x.items() if _NUMBERED.match(k) and isinstance(v, int)] for x in node]
        order = sorted(range(len(node)), key=numbers.__getitem__)  # as they stand, where none is numbered
        every = [_samples_of(node[i])[0] for i in order]
        if len({x.size for x in every}) == 1:
            said = _said_alike(list(node))
            return [Group({}, around, keys, np.stack(every), said)]
    return []


def _is_lead(name: Any) -> bool:
    return (
        isinstance(name, str) and canonical_lead(re.split(r"[(\[/]", name)[0].strip().lstrip("-")) is not None
    )


def _name_of(value: Mapping[str, Any]) -> str | None:
    """The lead that an object says it is of."""
    texts = [x for key, x in value.items() if isinstance(x, str) and len(x) < 40 and _NAME.match(key)]
    return next((text for text in texts if _is_lead(text)), None)


def _has_samples(value: Any) -> bool:
    return isinstance(value, dict) and any(_samples(x) is not None for x in value.values())


def _samples_of(value: Mapping[str, Any]) -> tuple[Floats, Floats | None, int]:
    """The samples of an object of one lead, their times, and how many other arrays it holds."""
    arrays = {key: x for key, inner in value.items() if (x := _samples(inner)) is not None}
    times = [key for key in arrays if TIME.match(key)]
    rest = [key for key in arrays if key not in times]
    likely = [key for key in rest if _SAMPLES.match(key)] if len(rest) > 1 else rest
    if len(likely) != 1:
        raise ECGError(
            f"an object of a lead holds {len(rest)} arrays of numbers, of which none or several may be its "
            "samples; name one of them samples."
        )
    return arrays[likely[0]], arrays[times[0]] if times else None, len(rest) - 1


def _of_objects(
    objects: Mapping[str, dict[str, Any]], around: tuple[dict[str, Any], ...], keys: tuple[str, ...]
) -> Group:
    """An object a lead ({"I": {"samples": [...], "unit": "mV"}, ...}, or a list of such)."""
    read = {name: _samples_of(one) for name, one in objects.items()}
    columns = {name: samples for name, (samples, _, _) in read.items()}
    times = [time for _, time, _ in read.values() if time is not None]
    if times:
        if len(times) < len(read) or any(not np.array_equal(time, times[0]) for time in times):
            raise ECGError("the leads were sampled at different times, which cannot be read together.")
        columns = {"time": times[0], **columns}
    said = _said_alike(list(objects.values()))
    return Group(
        _of_one_length(columns), around, keys, said=said, left_out=sum(n for _, _, n in read.values())
    )


def _of_one_length(columns: dict[str, Floats]) -> dict[str, Floats]:
    sizes = sorted({column.size for column in columns.values()})
    if len(sizes) > 1:
        raise ECGError(
            f"its leads have {sizes[0]:,} to {sizes[-1]:,} samples, and nothing says how they lie in time; "
            "save leads of one length."
        )
    return columns


def _facts_of(value: Mapping[str, Any]) -> dict[str, Any]:
    """Texts and numbers of an object, and of the small ones in it; a value with its unit as one."""
    out: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, str | int | float) and not isinstance(inner, bool) and _samples(inner) is None:
            out[key] = inner[:_TEXT] if isinstance(inner, str) else inner
        elif isinstance(inner, dict) and isinstance(x := inner.get("value"), int | float):
            out[key] = f"{x} {inner.get('unit', '')}".strip()
    return out


def _said_alike(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """What the objects of leads say of themselves, each the same; a difference that matters is refused."""
    if key := _differ(objects):
        raise ECGError(
            f"its leads differ in {key}, so that they are no ECG that was recorded at once and in one unit; "
            "save leads of one record, one unit and one rate."
        )
    each = [_flat(one) for one in objects]
    return {key: x for key, x in each[0].items() if all(one.get(key) == x for one in each)}


def _flat(value: Mapping[str, Any]) -> dict[str, Any]:
    inner = {
        f"{k}/{key}": x for k, v in value.items() if isinstance(v, dict) for key, x in _facts_of(v).items()
    }
    return {**_facts_of(value), **inner}


def _differ(objects: list[dict[str, Any]]) -> str:
    """The kind of thing that objects of leads say differently, or some of them alone; "" for nothing."""
    each = [_flat(one) for one in objects]
    for key in dict.fromkeys(key for one in each for key in one):
        name = key.split("/")[-1]
        kind = _ALIKE.search(name)
        if kind and not _NAME.match(name) and len({str(one.get(key)) for one in each}) > 1:
            return f"“{kind[0].lower()}”"
    return ""


def _of_matrix(values: Floats, around: tuple[dict[str, Any], ...], keys: tuple[str, ...]) -> Group:
    """A matrix, its columns or rows named by a list of names that lies beside it."""
    for name, inner in around[-1].items() if around else ():
        if isinstance(inner, list) and all(isinstance(x, str) for x in inner) and any(map(_is_lead, inner)):
            rows, columns = values.shape
            if len(inner) in (rows, columns) and rows != columns and len(set(inner)) == len(inner):
                leads = values if len(inner) == rows else values.T
                return Group(dict(zip(inner, leads, strict=True)), around, keys)
            raise ECGError(
                f"“{name[:30]}” names {len(inner)} leads, and the matrix beside it is {rows:,} by "
                f"{columns:,}."
            )
    return Group({}, around, keys, values)


# From a group to a recording


def read_json(path: Path, asked: Asked) -> Recording:
    """One group of leads with what is said around it."""
    try:
        every = list(_groups(tree_of(path)))
        groups = [g for g in every if g.columns] or every
        groups = [g for g in groups if not any(map(_AVERAGED.search, g.keys))] or groups
        row = (
            asked_row(path, f"{len(groups):,} groups of leads", len(groups), asked) if len(groups) > 1 else 0
        )
        group = groups[row]
        said = _around(group)
    except ECGError as error:
        if path.name in str(error):
            raise
        raise ECGError(f"{path.name}: {error}") from None
    known = facts(said)
    notes = [f"Without samples that can be read: {some(group.lost)}."] if group.lost else []
    if len(groups) > 1:
        notes.append(f"Record {row + 1:,} of the {len(groups):,} in the file is read.")
    if left := group.left_out + len(every) - len(groups):
        notes.append(
            f"{left} array{'s' if left > 1 else ''} beside the leads {'are' if left > 1 else 'is'} left out."
        )
    notes += _doubt(said, known)
    if group.matrix is None:
        recording = from_columns(path, "JSON", group.columns, known, asked, notes=notes)
    else:
        recording = from_array(path, "JSON", group.matrix, known, replace(asked, record=None))
        recording = replace(recording, warnings=(*notes, *recording.warnings))
    return replace(recording, records=len(groups))


def _around(group: Group) -> dict[str, Any]:
    """What stands around a group: of itself, then of the objects that it lies in, the nearest first.

    Raises
    ------
    ECGError : two that are as near say different rates or units
    """
    said: dict[str, Any] = dict(group.said)
    for node in reversed(group.around):
        here = {key: x for key, x in _facts_of(node).items()}
        beside = [
            {k: x for k, x in _facts_of(inner).items() if not _BARE_RATE.match(k)}
            for key, inner in node.items()
            if _speaks_of_samples(key, inner)
        ]
        for means, what in ((means_rate, "rates"), (means_unit, "units")):
            told = [{_in_short(x) for key, x in near.items() if means(key)} for near in (here, *beside)]
            values = told[0] or set().union(*told[1:])
            of_leads = [x for key, x in node.items() if means(key) and isinstance(x, list | dict)]
            values |= {_in_short(x) for inner in of_leads for x in _each(inner)}
            if len(values) > 1:
                raise ECGError(f"it gives several {what} for its leads; save leads of one unit and one rate.")
            here |= (
                dict.fromkeys(("fs" if what == "rates" else "unit",), next(iter(values))) if values else {}
            )
        for near in (here, *beside):
            said = {**near, **said}
    return said


def _speaks_of_samples(key: str, value: Any) -> bool:
    """An object beside the samples, without any of its own, that may say what they are."""
    if not isinstance(value, dict) or "value" in value or _APART.search(key):
        return False
    return not _has_deep_samples(value)


def _in_short(value: Any) -> str:
    """A rate or unit, so that "500", 500.0 and "500 Hz" are one."""
    text = str(value).strip().lower()
    number = re.match(r"^(\d{1,6}(?:\.\d{1,6})?)\s*(khz)?", text)
    return f"{float(number[1]) * (1000 if number[2] else 1):g}" if number else text


def _each(value: Any) -> list[Any]:
    if isinstance(value, dict) and "value" in value:
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [x for x in inner if isinstance(x, str | int | float)]


def _has_deep_samples(value: Any, depth: int = 0) -> bool:
    if _samples(value) is not None or _matrix(value) is not None:
        return True
    if depth > MOST_DEPTH or not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value[:1]
    return any(_has_deep_samples(x, depth + 1) for x in inner if isinstance(x, dict | list | str))


def _doubt(said: Mapping[str, Any], known: Facts) -> list[str]:
    """A sentence on what may be the worth of a count and is not applied."""
    worth = {k: x for k, x in said.items() if _WORTH.search(k.split("/")[-1]) and isinstance(x, int | float)}
    worth = {k: x for k, x in worth.items() if x not in (1, 1.0, *BITS) and x != known.gain}
    if not worth:
        return []
    value = next(iter(worth.values()))
    return [
        f"The file names a scale or resolution of {value:g} beside its samples, which is not applied: this "
        f"may be a {WRONG_GAIN}."
    ]
