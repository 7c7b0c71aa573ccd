"""FHIR: observations that hold samples, alone or in a bundle.

R4 and R5: https://hl7.org/fhir/datatypes.html#SampledData. Leads have the codes of ISO/IEEE 11073-10101.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from clear_hug.ecg import ECGError
from clear_hug.io.jsons import MOST_DEPTH, beginning, begins_as_json, tree_of
from clear_hug.io.kit import in_time
from clear_hug.io.recording import Asked, Channel, Recording, asked_row, millivolt, sex_of, years
from clear_hug.leads import LEADS, canonical_lead

AT_ONCE = 5.0  # s; observations that begin further apart are several ECGs


def is_fhir(path: Path, head: bytes) -> bool:
    return begins_as_json(head) and b'"valueSampledData"' in beginning(path)


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
    tree = tree_of(path)
    observations = [node for node in _nodes(tree) if _sampled(node)]
    if not observations:
        raise ECGError(f"{path.name} holds no observation of FHIR with samples.")
    said: list[str] = []
    ecgs = _together([(_begins(one), _channels(path, one, said)) for one in observations])
    row = asked_row(path, f"{len(ecgs)} observations", len(ecgs), asked) if len(ecgs) > 1 else 0
    if len(ecgs) > 1:
        said.append(f"Observation {row + 1} of the {len(ecgs)} in the file is read.")
    parts = ecgs[row]
    start = min((at for at, _ in parts if at is not None), default=0.0)
    rates = {channel.fs for _, channels in parts for channel in channels}
    fs = rates.pop() if len(rates) == 1 else None
    if fs:
        placed = [(round(((at or start) - start) * fs), channels) for at, channels in parts]
        channels, apart = in_time(placed)
        said += apart
    else:
        channels = [channel for _, channels in parts for channel in channels]
    patients = [node for node in _nodes(tree) if node.get("resourceType") == "Patient"]
    patient = patients[0] if len(patients) == 1 else {}
    return Recording(
        "FHIR", channels, _age(patient, start), sex_of(patient.get("gender")), tuple(dict.fromkeys(said)),
        bare=True, records=len(ecgs),
    )  # fmt: skip


Part = tuple[float | None, list[Channel]]


def _together(parts: list[Part]) -> list[list[Part]]:
    """Observations that make up one ECG: other leads, and begun within `AT_ONCE`."""
    out: list[list[Part]] = []
    for begins, channels in parts:
        names = {channel.name for channel in channels}
        for group in out:
            first = group[0][0]
            apart = abs(begins - first) if begins is not None and first is not None else 0.0
            if apart <= AT_ONCE and not names & {c.name for _, others in group for c in others}:
                group.append((begins, channels))
                break
        else:
            out.append([(begins, channels)])
    return out


def _begins(observation: Mapping[str, Any]) -> float | None:
    """When it began, in s; None where it does not say."""
    period = observation.get("effectivePeriod")
    given = period.get("start") if isinstance(period, dict) else None
    text = observation.get("effectiveDateTime") or observation.get("effectiveInstant") or given
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _age(patient: Mapping[str, Any], begins: float) -> float | None:
    """Years from birth to the recording."""
    try:
        born = datetime.fromisoformat(str(patient.get("birthDate"))).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return years(int((begins - born) / (365.25 * 86400))) if begins else None


def _channels(path: Path, observation: Mapping[str, Any], said: list[str]) -> list[Channel]:
    channels = []
    for part in _parts(observation):
        data = part.get("valueSampledData")
        if isinstance(data, dict):
            channels += _sampled_data(path, data, _name(part), said)
    return channels


def _sampled_data(path: Path, data: Mapping[str, Any], name: str, said: list[str]) -> list[Channel]:
    """The channels of one SampledData: origin + data * factor, in the unit of the origin."""
    origin = data.get("origin")
    origin = origin if isinstance(origin, dict) else {}
    zero, factor = _number(origin.get("value"), 0.0), _number(data.get("factor"), 1.0)
    unit = next((str(origin[k]) for k in ("code", "unit") if millivolt(str(origin.get(k))) is not None), "")
    if not unit and (stated := str(origin.get("unit") or origin.get("code") or "")):
        said.append(f"The unit {stated[:20]!r} of lead {name} is no voltage.")
    period = _number(data.get("period") or data.get("interval"), 0.0)
    per_second = {"ms": 1000.0, "s": 1.0, "us": 1e6}.get(str(data.get("intervalUnit", "ms")))
    if per_second is None:
        raise ECGError(f"{path.name} counts its interval in {str(data['intervalUnit'])[:20]!r}; expected ms.")
    fs = per_second / period if period > 0 else None
    words = str(data.get("data", "")).split()
    limits = {
        "E": np.nan,
        "L": _number(data.get("lowerLimit"), np.nan),
        "U": _number(data.get("upperLimit"), np.nan),
    }
    marked = [word in limits for word in words]
    try:
        values = (
            np.array([0.0 if m else float(w) for m, w in zip(marked, words, strict=True)]) * factor + zero
        )
    except ValueError:
        raise ECGError(f"{path.name} holds samples of lead {name} that are no numbers.") from None
    if any(marked):
        values[marked] = [limits[word] for word in words if word in limits]
        beyond = sum(word in ("L", "U") for word in words)
        if beyond:
            said.append(f"{beyond:,} samples of lead {name} lie beyond what the device could measure.")
    n = int(_number(data.get("dimensions"), 1.0))
    if n < 1 or len(values) % n:
        raise ECGError(f"{path.name} claims {n} values a sample for {len(values):,} values of lead {name}.")
    names = [name] if n == 1 else [f"{name} {i + 1}" for i in range(n)]
    return [Channel(one, values[i::n], fs, unit, factor, zero) for i, one in enumerate(names)]


def _number(value: Any, otherwise: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return otherwise
    return number if np.isfinite(number) else otherwise


_LEAD = dict(zip((1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8), LEADS, strict=True))
_FIRST_CODES = (131_328, 131_072, 0)  # MDC_ECG_ELEC_POTL, MDC_ECG_LEAD; and "2:1", the latter by its block


def _name(part: Mapping[str, Any]) -> str:
    """The lead of an observation or a component, by its code or its words; else its words as they are."""
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
    return next((text for text in texts if canonical_lead(text)), next(filter(None, texts), "lead"))[:40]
