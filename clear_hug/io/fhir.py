"""FHIR: observations that hold samples, alone or in a bundle.

R4 and R5: https://hl7.org/fhir/datatypes.html#SampledData. Leads have the codes of ISO/IEEE 11073-10101.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from clear_hug.ecg import ECGError
from clear_hug.io.jsons import begins_as_json, lines_of, tree_of
from clear_hug.io.kit import in_time
from clear_hug.io.limits import LIMITS
from clear_hug.io.recording import Asked, Channel, Recording, asked_row, millivolt, sex_of, years
from clear_hug.leads import LEADS, canonical_lead

MOST_DEPTH = 24  # of what lies in one another
NOT_NAMED = "Samples that are named as no lead of an ECG are left out."
AT_ONCE = 5.0  # s; observations that begin further apart are several ECGs


def is_fhir(path: Path, head: bytes) -> bool:
    if not begins_as_json(head) or path.stat().st_size > LIMITS["text"].most:
        return False
    content = path.read_bytes()
    return b'"valueSampledData"' in content and b'"Observation"' in content


def _nodes(tree: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Every object in the tree that may be a resource, the outer before the inner."""
    if depth > MOST_DEPTH:
        return
    if isinstance(tree, dict):
        yield tree
    inner = list(tree.values()) if isinstance(tree, dict) else tree
    if isinstance(tree, list) and tree and isinstance(tree[0], int | float):
        return
    for value in inner:
        if isinstance(value, dict | list):
            yield from _nodes(value, depth + 1)


def _sampled(node: Mapping[str, Any]) -> bool:
    """An observation, or a component of one outside any, that holds samples."""
    if node.get("resourceType") != "Observation":
        return False
    return any(isinstance(part.get("valueSampledData"), dict) for part in _parts(node))


def _parts(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The observation itself, where it holds the samples, and its components."""
    more = node.get("component")
    components = [x for x in more if isinstance(x, dict)] if isinstance(more, list) else []
    return [dict(node), *components]


def read_fhir(path: Path, asked: Asked) -> Recording:
    """One ECG: the components of an observation, or observations of a lead each that begin together."""
    tree = lines_of(path) or tree_of(path)
    observations = [node for node in _nodes(tree) if _sampled(node)]
    said: list[str] = []
    if errors := sum(one.get("status") == "entered-in-error" for one in observations):
        said.append(f"{errors} observations that were entered in error are left out.")
        observations = [one for one in observations if one.get("status") != "entered-in-error"]
    parts = [part for one in observations if (part := _part(path, one, said)).channels]
    if not parts:
        raise ECGError(f"{path.name} holds no observation of FHIR with the samples of a lead.")
    ecgs = _together(parts)
    row = asked_row(path, f"{len(ecgs)} observations", len(ecgs), asked) if len(ecgs) > 1 else 0
    if len(ecgs) > 1:
        said.append(f"Observation {row + 1} of the {len(ecgs)} in the file is read.")
    parts = ecgs[row]
    start = min((part.begins for part in parts if part.begins is not None), default=0.0)
    channels = [channel for part in parts for channel in part.channels]
    late = [(part.begins or start) - start for part in parts]
    fs = {channel.fs for channel in channels}
    if any(late):
        if None in fs or len(fs) > 1:
            raise ECGError(f"{path.name} holds leads that begin at different times and rates.")
        rate = channels[0].fs or 0.0
        placed = [(round(at * rate), part.channels) for at, part in zip(late, parts, strict=True)]
        channels, apart = in_time(placed)
        said += apart
    elif len(fs) == 1 and len({channel.samples.size for channel in channels}) > 1:
        raise ECGError(
            f"{path.name} holds leads of unlike length, and nothing says how they lie in time; save leads of "
            "one length."
        )
    patient = _patient_of(tree, parts[0].whose)
    return Recording(
        "FHIR", channels, _age(patient, parts[0]), sex_of(patient.get("gender")), tuple(dict.fromkeys(said)),
        bare=True, records=len(ecgs),
    )  # fmt: skip


def _patient_of(tree: Any, whose: str) -> dict[str, Any]:
    """The patient that a subject refers to by its id, where it lies in the same file."""
    kind, _, number = whose.rpartition("/")
    if not number or not kind.endswith("Patient"):
        return {}
    found = [one for one in _nodes(tree) if one.get("resourceType") == "Patient" and one.get("id") == number]
    return found[0] if len(found) == 1 else {}


@dataclass(frozen=True)
class _Part:
    """An observation's channels, and of whom and when it is.

    whose : its subject, as it refers to it;  when : as it says it
    begins : the same in s, None where it tells no clock
    """

    channels: list[Channel]
    whose: str
    when: str
    begins: float | None


def _part(path: Path, observation: Mapping[str, Any], said: list[str]) -> _Part:
    channels: list[Channel] = []
    for part in _parts(observation):
        data = part.get("valueSampledData")
        if isinstance(data, dict):
            if name := _name(part):
                channels += _sampled_data(path, data, name, said)
            elif int(_number(path, "", data, "dimensions", 1.0)) > 1:
                channels += _sampled_data(path, data, "", said)
            else:
                said.append(NOT_NAMED)
    subject, period = observation.get("subject"), observation.get("effectivePeriod")
    given = period.get("start") if isinstance(period, dict) else None
    when = str(observation.get("effectiveDateTime") or observation.get("effectiveInstant") or given or "")
    begins = None
    if "T" in when:  # a day alone is no time
        with suppress(ValueError, OverflowError, OSError):
            begins = datetime.fromisoformat(when).timestamp()
    whose = str(subject.get("reference") or subject.get("identifier")) if isinstance(subject, dict) else ""
    return _Part(channels, whose, when, begins)


def _together(parts: list[_Part]) -> list[list[_Part]]:
    """Observations that make up one ECG: other leads, of one subject, begun within `AT_ONCE`."""
    out: list[list[_Part]] = []
    last: dict[str, list[_Part]] = {}  # of each subject, what came before
    for part in parts:
        group = last.get(part.whose)
        names = {channel.name for channel in part.channels}
        if group and _at_once(part, group[0]) and not names & {c.name for one in group for c in one.channels}:
            group.append(part)
        else:
            last[part.whose] = [part]
            out.append(last[part.whose])
    return out


def _at_once(part: _Part, other: _Part) -> bool:
    if part.begins is None or other.begins is None:
        return part.when == other.when
    return abs(part.begins - other.begins) <= AT_ONCE


def _age(patient: Mapping[str, Any], part: _Part) -> float | None:
    """Whole years from birth to the recording."""
    try:
        born = datetime.fromisoformat(str(patient.get("birthDate")))
        then = datetime.fromisoformat(part.when)
    except ValueError:
        return None
    return years(then.year - born.year - ((then.month, then.day) < (born.month, born.day)))


def _sampled_data(path: Path, data: Mapping[str, Any], name: str, said: list[str]) -> list[Channel]:
    """The channels of one SampledData: origin + data * factor, in the unit of the origin."""
    origin = data.get("origin")
    origin = origin if isinstance(origin, dict) else {}
    zero = _number(path, name, origin, "value", 0.0)
    factor = _number(path, name, data, "factor", 1.0)
    units = [str(origin[key]) for key in ("code", "unit") if origin.get(key)]
    unit = next((one for one in units if millivolt(one) is not None), "")
    if units and not unit:
        said.append(f"The unit of lead {name} is no voltage by a known name.")
    period = _number(path, name, data, "interval" if data.get("period") is None else "period", 0.0)
    per_second = {"ms": 1000.0, "s": 1.0, "us": 1e6}.get(str(data.get("intervalUnit", "ms")))
    if per_second is None:
        raise ECGError(f"{path.name} counts its interval in {str(data['intervalUnit'])[:20]!r}; expected ms.")
    fs = per_second / period if period > 0 else None
    words = str(data.get("data") or "").split()
    if not words:
        said.append(f"Lead {name} holds no samples.")
        return []
    limits = {"E": np.nan}
    limits |= {key[0].upper(): _number(path, name, data, key, np.nan) for key in ("lowerLimit", "upperLimit")}
    marked = [word in limits for word in words]
    try:
        values = (
            np.array([0.0 if m else float(w) for m, w in zip(marked, words, strict=True)]) * factor + zero
        )
    except ValueError:
        raise ECGError(f"{path.name} holds samples of lead {name} that are no numbers.") from None
    if not np.isfinite(values).all():
        raise ECGError(f"{path.name} holds samples of lead {name} that are no numbers.")
    if any(marked):
        values[marked] = [limits[word] for word in words if word in limits]
        beyond = sum(word in ("L", "U") for word in words)
        if beyond:
            said.append(f"{beyond:,} samples of lead {name} lie beyond what the device could measure.")
    n = int(_number(path, name, data, "dimensions", 1.0))
    if n < 1 or len(values) % n:
        raise ECGError(f"{path.name} claims {n} values a sample for {len(values):,} values of lead {name}.")
    names = [name] if n == 1 else [f"channel {i + 1}" for i in range(n)]
    return [Channel(one, values[i::n], fs, unit, factor, zero) for i, one in enumerate(names)]


def _number(path: Path, name: str, data: Mapping[str, Any], key: str, otherwise: float) -> float:
    """A number of SampledData; `otherwise` where it is not there.

    Raises
    ------
    ECGError : it is there and no number
    """
    value = data.get(key)
    if value is None:
        return otherwise
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12:
        return float(value)
    raise ECGError(f"{path.name} gives lead {name} a {key} that is no number.")


_LEAD = dict(zip((1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8), LEADS, strict=True))
_FIRST_CODES = (131_328, 131_072, 0)  # MDC_ECG_ELEC_POTL, MDC_ECG_LEAD; and "2:1", the latter by its block


def _name(part: Mapping[str, Any]) -> str:
    """The lead of an observation or a component, by its code or its words; "" where they name none."""
    code = part.get("code")
    code = code if isinstance(code, dict) else {}
    given = code.get("coding")
    codings = [x for x in given if isinstance(x, dict)] if isinstance(given, list) else []
    for coding in codings:
        number = re.fullmatch(r"(2:(?=\d{1,3}$)|(?=\d{6}$))(\d+)", str(coding.get("code", "")).strip())
        leads = [_LEAD.get(int(number[2]) - first) for first in _FIRST_CODES] if number else []
        if lead := next(filter(None, leads), None):
            return lead
    texts = [str(x.get(key, "")) for x in codings for key in ("display", "code")]
    texts = [re.sub(r"^MDC_ECG_(ELEC_POTL|LEAD)_", "", text) for text in (str(code.get("text", "")), *texts)]
    return next((text for text in texts if canonical_lead(text)), "")
