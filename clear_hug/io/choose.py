"""Which of a file's arrays is the record, and which axis its leads': said, or guessed with the reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import WRONG_GAIN, ECGError
from clear_hug.io.facts import Facts, facts, guess_leads, rate_from
from clear_hug.io.recording import (
    SPAN_MV,
    Asked,
    Channel,
    NeedsAnswer,
    Recording,
    asked_row,
    median_span,
    millivolt,
    some,
    within,
    without_absent,
)
from clear_hug.leads import LEADS, canonical_lead, lead_number, numbered

LEAST_GAIN = 20.0  # counts a mV; what is called a gain and is less is an amplifier's, or uV a count
BITS = (8.0, 10.0, 12.0, 14.0, 16.0, 24.0, 32.0)  # of a converter, which "resolution" may count
LEAST_PADDING = 16  # samples; no amplifier gives 0 in every lead that often in a row
MOST_LEADS = 20  # an axis no longer than this may be that of the leads


def from_array(path: Path, source: str, values: NDArray[Any], known: Facts, asked: Asked) -> Recording:
    """Leads of one array: which axis is theirs, and in what order, said or guessed with a reason."""
    shape = " x ".join(f"{n:,}" for n in values.shape)
    values = np.squeeze(values)
    said: list[str] = []
    guessed: list[str] = []
    if several := _records_in(values):
        values = values[asked_row(path, f"an array of {shape}, {several:,} records", several, asked)]
        said.append(f"Record {asked.record:,} of the {several:,} in the file is read.")
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.dtype.kind not in "iuf":
        raise ECGError(
            f"{path.name} holds an array of {shape}; expected one record: leads by samples. "
            "Save one record by itself."
        )
    given = tuple(asked.leads) if isinstance(asked.leads, Sequence) else known.names
    if asked.orientation:
        rows = asked.orientation == "rows"
    elif given and (values.shape[0] == len(given)) != (values.shape[1] == len(given)):
        rows = values.shape[0] == len(given)
    else:
        few, many = sorted(values.shape)
        if few > MOST_LEADS or few == many:
            raise NeedsAnswer(
                f"{path.name} holds an array of {shape}, of which neither axis can be told to be the leads; "
                "say it: orientation='rows' or 'columns'.",
                "orientation",
            )  # fmt: skip
        rows = values.shape[0] == few
        if few > 1:
            guessed.append("orientation")
            axis, other = ("rows", "columns") if rows else ("columns", "rows")
            said.append(
                f"Leads are taken to stand in {axis}, since {few} {axis} and {many:,} {other} are there."
            )
    leads = values if rows else values.T
    within("leads", len(leads), path.name)
    leads = _without_padding(leads, said)
    names: Sequence[str] = known.names
    if len(names) != len(leads):
        names, why = guess_leads(path, leads, asked)
        if why:
            guessed.append("leads")
            said.append(why)
    channels = _by_gain(list(zip(names, leads, strict=True)), known, asked, said)
    return Recording(
        source, channels, known.age, known.sex, tuple(said), bare=True, guessed=tuple(guessed),
        records=max(1, several),
    )  # fmt: skip


def _records_in(values: NDArray[Any]) -> int:
    """How many records an array of (record, lead, sample) or (record, sample, lead) holds; 0 for another."""
    if values.ndim != 3 or values.dtype.kind not in "iuf":
        return 0
    few, many = sorted(values.shape[1:])
    return len(values) if few <= MOST_LEADS < many else 0


def _without_padding(leads: NDArray[Any], said: list[str]) -> NDArray[Any]:
    """Leads (lead, sample) whose samples are NaN where all of them are 0 up to an end, to fill an array."""
    some = np.flatnonzero((leads != 0).any(axis=0))
    if len(leads) < 2 or not some.size:
        return leads
    first, last = int(some[0]), leads.shape[1] - 1 - int(some[-1])
    ends = [(n, words) for n, words in ((first, "first"), (last, "last")) if n >= LEAST_PADDING]
    if not ends:
        return leads
    leads = leads.astype(np.float64)
    for n, words in ends:
        leads[:, slice(n) if words == "first" else slice(-n, None)] = np.nan
    where = " and the ".join(f"{words} {n:,}" for n, words in ends)
    said.append(f"The {where} samples are 0 in every lead: they fill the array up, and are taken as absent.")
    return leads


def _by_gain(
    leads: Sequence[tuple[str, NDArray[Any]]], known: Facts, asked: Asked, said: list[str]
) -> list[Channel]:
    """Channels, divided by the file's gains where only then they span what a heart's do."""
    if len(known.units) == len(leads):
        if known.gain or known.gains:
            said.append(_not_applied(known.gains or (known.gain or 0.0,)))
        return [
            Channel(name, np.asarray(x, np.float64), known.fs, unit)
            for (name, x), unit in zip(leads, known.units, strict=True)
        ]
    if not (known.gain or known.gains or known.step):
        return [Channel(name, np.asarray(x, np.float64), known.fs, known.unit) for name, x in leads]
    gains = np.array(known.gains if len(known.gains) == len(leads) else [known.gain or 0.0] * len(leads))
    zeros = np.array(known.zeros if len(known.zeros) == len(leads) else [known.baseline] * len(leads))
    low, high = SPAN_MV
    plain = [without_absent(x)[0] for _, x in leads]
    span = median_span(plain)
    stated = low <= span * (millivolt(known.unit) or 1.0) <= high
    stated |= known.by_step and not _counts(plain, 1000 / (known.gain or 1.0))
    unit, steps = known.unit, np.ones(len(leads))
    if gains.all() and not asked.unit:
        in_mv = median_span(x / gain for x, gain in zip(plain, gains, strict=True))
        what = f"{gains[0]:g}" if np.ptp(gains) == 0 else f"{gains.min():g} to {gains.max():g} by lead"
        if gains.min() >= LEAST_GAIN and low <= in_mv <= high and not stated:
            unit, steps = "mV", 1 / gains
            said.append(f"The file names a gain of {what}, which is taken for values a mV.")
        else:
            said.append(
                f"The file names a gain of {what}, which is not applied: it is no number of counts a mV by "
                f"the values, of which a lead spans {span:,.4g}."
            )
    elif len(known.gains) > 1:
        said.append(_not_applied(known.gains))
    elif (step := known.step) and step not in (1.0, *BITS) and not asked.unit and _whole(plain):
        if low <= span * step * (millivolt(unit) or 1.0) <= high:
            said.append(
                f"The file names a resolution of {step:g} beside its {unit or 'values'}, which is not "
                f"applied: if its whole numbers count {step:g} {unit} each, this is a {WRONG_GAIN}."
            )
    zeros = np.where(steps == 1.0, 0.0, -zeros * steps)
    return [
        Channel(name, np.asarray(x, np.float64) * one + zero, known.fs, unit, float(one), float(zero))
        for (name, x), one, zero in zip(leads, steps, zeros, strict=True)
    ]


def _not_applied(gains: Sequence[float]) -> str:
    return (
        f"The file names gains of {min(gains):g} to {max(gains):g}, which are not applied: leads cannot be "
        f"held against each other, and it may be read by a {WRONG_GAIN}."
    )


def _whole(leads: Iterable[NDArray[Any]]) -> bool:
    """Whether all samples are whole numbers, as counts are."""
    return all(np.array_equal(x, np.round(x), equal_nan=True) for x in leads)


def _counts(leads: Sequence[NDArray[Any]], step: float) -> bool:
    """Whether samples are whole numbers, and not µV already, of which a count is worth `step`."""
    if not _whole(leads):
        return False
    sizes = np.unique(np.abs(np.concatenate([x[np.isfinite(x)] for x in leads])))
    return step <= 1 or bool((np.abs(sizes / step - np.round(sizes / step)) * step >= 1).any())


_EACH = re.compile(r"^((adc_?)?(gains?|baseline)|adc_?zero|samplerate)$", re.IGNORECASE)
_GAINS = re.compile(r"^(adc_?)?gains?$", re.IGNORECASE)
_ZEROS = re.compile(r"^((adc_?)?baselines?|adc_?zeros?)$", re.IGNORECASE)
_ENDS_WITH_UNIT = re.compile(r"[\s_(\[.-]([uµμnm]V|microvolts?|millivolts?)[)\]]?$", re.IGNORECASE)
_LIKELY = re.compile(r"^(ecg|ekg|signals?|data|val|values?|tracings?|waveforms?|psignal|x|samples?|record)$")


def choose(
    path: Path, source: str, arrays: dict[str, NDArray[Any]], said: dict[str, Any], asked: Asked
) -> Recording:
    """The record among a file's arrays: leads by name, or one array of leads by samples."""
    arrays, said = _strung(arrays, said)
    if groups := _groups_of_leads(arrays):
        row = asked_row(path, f"{len(groups)} groups of leads", len(groups), asked)
        arrays, said = (_beside(groups[row], groups, values) for values in (arrays, said))
        one = choose(path, source, arrays, said, replace(asked, record=None))
        note = f"Record {row + 1} of the {len(groups)} in the file is read."
        return replace(one, records=len(groups), warnings=(note, *one.warnings))
    said = said | {k: v.ravel().tolist() for k, v in arrays.items() if v.size == 1}
    said |= {  # one of each lead, all alike
        place: float(v.ravel()[0])
        for place, v in arrays.items()
        if 1 < v.size <= MOST_LEADS and _EACH.match(place.split("/")[-1]) and np.ptp(v) == 0
    }
    said = {p: v for p, v in said.items() if not _TIME.match(_owner(p))}
    known = facts(said)
    known = replace(known, gains=_of_each_lead(arrays, _GAINS), zeros=_of_each_lead(arrays, _ZEROS))
    notes: list[str] = []
    arrays = _one_array(path, arrays, asked, notes)
    times = {place: np.squeeze(v) for place, v in arrays.items() if _TIME.match(place.split("/")[-1])}
    times = {place: v for place, v in times.items() if v.ndim == 1}
    arrays = {place: v for place, v in arrays.items() if place not in times}
    named = _named_leads(arrays, notes)
    if any(_lead_of(name) in LEADS for name in named) and (len(named) > 1 or len(named) == len(arrays)):
        n = next(iter(named.values())).size
        known = replace(known, fs=_rate_beside(path, times, n, known.fs, notes))
        if known.gains:  # in which order of the leads is not known
            notes.append(_not_applied(known.gains))
        if known.units:
            notes.append("The units differ by lead, and which is of which lead is not known: not applied.")
        own = [facts({p: v for p, v in said.items() if _owner(p) == name}) for name in named]
        units, gains = (tuple(getattr(f, of) or getattr(known, of) for f in own) for of in ("unit", "gain"))
        known = replace(known, zeros=(), unit=known.unit or _unit_in(*named),
                        units=units if len(set(units)) > 1 else (),
                        gains=gains if len(set(gains)) > 1 and all(gains) else ())  # fmt: skip
        channels = _by_gain(list(named.items()), known, asked, notes)
        return Recording(source, channels, known.age, known.sex, tuple(notes), bare=True)
    usable = {place: v for place, v in arrays.items() if v.ndim >= 1 and v.size >= 100}
    likely = {
        p: v for p, v in usable.items() if _LIKELY.match(re.sub(r"[^a-z]", "", p.split("/")[-1].lower()))
    }
    two = {
        p: v
        for p, v in (likely or usable).items()
        if (np.squeeze(v).ndim == 2 and min(np.squeeze(v).shape) <= MOST_LEADS) or _records_in(np.squeeze(v))
    }
    pick = two or likely or usable
    if not pick:
        raise ECGError(f"{path.name} holds no array of leads by samples.")
    place = max(pick, key=lambda p: pick[p].size)
    if several := _records_in(np.squeeze(pick[place])):  # what is said of each record, said of this one
        row = asked_row(path, f"{several:,} records", several, asked)
        n_leads = min(np.squeeze(pick[place]).shape[1:])
        gains, zeros = (row if len(row) == n_leads else () for row in (known.gains, known.zeros))
        if several == n_leads and gains:  # of each record, or of each lead
            notes.append(_not_applied(gains))
            gains, zeros = (), ()
        of_record = {
            p: v.ravel()[row]
            for p, v in arrays.items()
            if v.size == several and not (several == n_leads and _of(p, _GAINS, _ZEROS))
        }
        known = replace(facts({**of_record, **said}), gains=gains, zeros=zeros)
    elif len(two) > 1:
        which = (
            f"{len(two)} arrays may hold the record; the largest is read. To choose: record=1 to {len(two)}."
        )
        if asked.record is not None:
            place = list(two)[asked_row(path, "", len(two), asked)]
            which = f"Array {asked.record} of the {len(two)} that may hold a record is read."
        notes = [which]
        known = replace(facts(_beside(_parent(place), list(map(_parent, two)), said)),
                        gains=known.gains, zeros=known.zeros)  # fmt: skip
    fits = {p: v for p, v in times.items() if v.size in pick[place].shape}
    if fits:
        n = next(iter(fits.values())).size
        known = replace(known, fs=_rate_beside(path, fits, n, known.fs, notes))
    known = replace(known, unit=known.unit or _unit_in(place))
    recording = from_array(path, source, pick[place], known, asked)
    if len(two) > 1 and not several:
        guessed = recording.guessed if asked.record else (*recording.guessed, "record")
        recording = replace(recording, records=len(two), guessed=guessed)
    return replace(recording, warnings=(*recording.warnings, *notes))


_ELEMENT = re.compile(r"(.+)\((\d+)\)((?:/[^/()]+)?)")


def _strung(
    arrays: Mapping[str, NDArray[Any]], said: Mapping[str, Any]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Leads that are each a cell of an array, or a struct that names it, as one array and a list of names."""
    arrays, said = dict(arrays), dict(said)
    strings: dict[tuple[str, str], list[str]] = {}
    for place, values in arrays.items():
        if (found := _ELEMENT.fullmatch(place)) and np.squeeze(values).ndim == 1:
            strings.setdefault((found[1], found[3]), []).append(place)
    for (base, end), places in strings.items():
        rows = [np.squeeze(arrays[place]) for place in places]
        one = [f"{place.removesuffix(end)}/" for place in places]  # struct
        beside = [{p.removeprefix(at): said[p] for p in said if p.startswith(at)} for at in one]
        names = [
            next((v for v in each.values() if isinstance(v, str) and _lead_of(v)), "") for each in beside
        ]
        if len(rows) < 2 or len({row.size for row in rows}) > 1:
            continue
        if end and (not all(names) or len(set(names)) < len(names)):
            continue
        for place in places:
            del arrays[place]
        arrays[f"{base}{end}"] = np.stack(rows)
        if not end:
            continue
        for field in beside[0]:  # of each lead
            told = [each.get(field, "") for each in beside]
            for at in one:
                said.pop(f"{at}{field}", None)
            if all(value == told[0] for value in told):
                said[f"{base}/{field}"] = told[0]
            elif all(isinstance(value, float) for value in told):
                arrays[f"{base}/{field}"] = np.array(told)
            else:
                said[f"{base}/{field}"] = told
        said[f"{base}/leads"] = names
    return arrays, said


def _owner(place: str) -> str:
    """The name of what an attribute of HDF5 belongs to; "" for anything else."""
    return place.rpartition("@")[0].split("/")[-1]


def _parent(place: str) -> str:
    return place.rpartition("/")[0]


def _groups_of_leads(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    """Groups that hold leads by their names, where the same stand in several at one length: records."""
    leads = {p: (_lead_of(p.split("/")[-1]), v.size) for p, v in arrays.items() if np.squeeze(v).ndim == 1}
    leads = {place: lead for place, lead in leads.items() if lead[0] in LEADS}
    several = {lead for lead, n in Counter(leads.values()).items() if n > 1}
    groups = dict.fromkeys(_parent(place) for place, lead in leads.items() if lead in several)
    return list(groups) if len(groups) > 1 else []


def _beside(own: str, groups: Sequence[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in one of several groups, or in none of the others."""
    others = [group for group in groups if group != own and not f"{own}/".startswith(f"{group}/")]
    return {p: v for p, v in values.items() if not any(p.startswith((f"{g}/", f"{g}@")) for g in others)}


def _unit_in(*names: str) -> str:
    """The unit that the names of arrays end with ("ecg_uV"), where all end with the same."""
    ends = {found[1] if (found := _ENDS_WITH_UNIT.search(name)) else "" for name in names}
    return ends.pop() if len(ends) == 1 else ""


def _of_each_lead(arrays: Mapping[str, NDArray[Any]], named: re.Pattern[str]) -> tuple[float, ...]:
    """Numbers of a name that differ by lead, or none; a baseline before an ADC's zero."""
    rows = [
        arrays[place].ravel() for place in sorted(arrays, key=lambda p: "base" not in p) if _of(place, named)
    ]
    rows = [v for v in rows if 1 < v.size <= MOST_LEADS and np.isfinite(v).all() and np.ptp(v) > 0]
    return tuple(map(float, rows[0])) if rows else ()


def _of(place: str, *named: re.Pattern[str]) -> bool:
    name = re.split(r"[/@]", place)[-1]
    return any(pattern.match(name) for pattern in named)


def _one_array(
    path: Path, arrays: dict[str, NDArray[Any]], asked: Asked, notes: list[str]
) -> dict[str, NDArray[Any]]:
    """The leads as one array where LabChart strung them together, or where their arrays are numbered."""
    if {"/data", "/datastart", "/dataend"} <= set(arrays):
        starts, ends = (np.atleast_2d(arrays[f"/data{end}"].T).T for end in ("start", "end"))
        block = (
            asked_row(path, f"{starts.shape[1]} blocks", starts.shape[1], asked) if starts.shape[1] > 1 else 0
        )
        data = arrays["/data"].ravel()
        ranges = np.column_stack([starts[:, block], ends[:, block]])
        if not ((ranges >= 1) & (ranges <= data.size)).all():
            raise ECGError(f"{path.name} names samples that it does not hold: it is broken.")
        parts = [data[int(a) - 1 : int(b)] for a, b in ranges]
        if len({part.size for part in parts}) == 1 and parts[0].size:
            rates = {k: v for k, v in arrays.items() if k == "/samplerate"}
            return {"/data": np.stack(parts), **rates}
        raise ECGError(f"{path.name} holds channels of unlike length; export those of the ECG alone.")
    names = {place: place.split("/")[-1] for place in arrays}
    if numbered(names.values()):
        numbers = {place: n for place, name in names.items() if (n := lead_number(name)) is not None}
        one = sorted(numbers, key=numbers.__getitem__)
        leads = [np.squeeze(arrays[place]) for place in one]
        if len({lead.shape for lead in leads}) == 1 and leads[0].ndim == 1:
            notes.append("The arrays of the leads are numbered, and not named.")
            return {**{k: v for k, v in arrays.items() if k not in one}, "/ecg": np.stack(leads)}
    return arrays


_TIME = re.compile(
    r"^(t|times?|time_?stamps?|time_?vec(tor)?|t_?vec)([_\s(\[]*(u|m)?s(ec)?[)\]]?)?$", re.IGNORECASE
)


def _rate_beside(
    path: Path, times: Mapping[str, NDArray[Any]], n: int, stated: float | None, said: list[str]
) -> float | None:
    """Hz of an array of times as long as the leads; else what the file states."""
    for place, array in times.items():
        name = place.split("/")[-1]
        values = np.asarray(array, np.float64)
        if values.size != n or n < 3:
            continue
        steps = np.diff(values)
        step = float(np.median(steps))
        if not (np.isfinite(steps).all() and (steps > 0).all() and np.ptp(steps) <= 0.5 * step + 1e-3):
            said.append(f"The array {name[:20]} does not rise evenly and is not taken for the time.")
        elif step != 1 or name.lower().endswith("ms"):  # else it numbers the samples
            return rate_from(path, name, values, stated, said)
    return stated


def _lead_of(name: str) -> str | None:
    return canonical_lead(re.split(r"[(\[]", name)[0].lstrip("-"))


def _named_leads(arrays: Mapping[str, NDArray[Any]], said: list[str]) -> dict[str, NDArray[Any]]:
    """The arrays that are each named as a lead, all of the usual length; what is left out is said.

    Names may share a prefix ("strip_I", "strip_II").
    """
    rows = {place: np.squeeze(v) for place, v in arrays.items() if np.squeeze(v).ndim == 1}
    names = {place: place.split("/")[-1] for place in rows}
    if not any(_lead_of(name) in LEADS for name in names.values()):
        cut = {place: re.fullmatch(r"(.*[_\W])([A-Za-z0-9]+)", name) for place, name in names.items()}
        shared = Counter(m[1] for m in cut.values() if m and _lead_of(m[2]) in LEADS)
        prefix = max(shared, key=lambda p: shared[p], default="")
        if prefix and shared[prefix] > 1:
            names = {place: name.removeprefix(prefix) for place, name in names.items()}
    rows = {place: v for place, v in rows.items() if _lead_of(names[place]) is not None}
    sizes = Counter(v.size for v in rows.values())
    usual = max(sizes, key=lambda size: (sizes[size], size), default=0)
    found: dict[str, NDArray[Any]] = {}
    left_out = []
    for place, values in rows.items():
        if values.size != usual or names[place] in found:
            left_out.append(place.strip("/")[:30])
        else:
            found[names[place]] = values
    if left_out and len(found) > 1:
        said.append(
            f"Left out, since their length differs from the other leads' or their name stands twice: "
            f"{some(left_out)}."
        )
    return found
