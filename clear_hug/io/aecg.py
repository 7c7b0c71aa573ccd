"""ecgdatakit's parser of HL7 aECG, mended where it passes over what a file says.

It knows leads by one of their names alone, takes the first series for the rhythm, and makes 1 of a scale that
is no number.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import ECGError
from clear_hug.leads import canonical_lead

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
FURTHEST = 600.0  # s between the first samples of two sets of one record


@cache
def aecg_parser() -> Any:
    """The parser: leads by any of their names; the rhythm, wherever it stands; and no scale made up.

    Raises (when it parses)
    -----------------------
    ECGError : a scale or an origin that is no number, or a scale of 0
    """
    from ecgdatakit.parsing.parsers.hl7_aecg import HL7aECGParser

    class Parser(HL7aECGParser):
        @staticmethod
        def _lead_label(code: str) -> str | None:
            known = HL7aECGParser._lead_label(code)
            return str(known) if known else (code if canonical_lead(code) else None)

        def _select_series(self, root: Any, file_path: Path) -> tuple[Any, Any]:
            first, beats = super()._select_series(root, file_path)
            series = [s for s in root.findall("component/series") if _code(s) != "REPRESENTATIVE_BEAT"]
            if len(series) < 2:
                return first, beats
            chosen = max(series, key=lambda s: ("RHYTHM" in _code(s), _most_samples(s)))
            self._warnings = [w for w in self._warnings if "rhythm series found" not in w]
            self._warnings.append(
                f"Of {len(series)} series of leads {_code(chosen)[:40] or 'the longest'} is read; the others "
                "are left out."
            )
            return chosen, beats

        def _read_sequence_set(self, series: Any, kind: str, file_path: Path) -> Any:
            found = super()._read_sequence_set(series, kind, file_path)
            sets = series.findall("component/sequenceSet")
            if kind == "rhythm" and len(sets) > 1:
                found = self._join_sets(sets, series, file_path) or found
            kept = [w for w in self._warnings if "sequences ignored" not in w]
            if kind == "rhythm" and len(kept) < len(self._warnings):
                kept.append("Sequences by no name of a lead that is known are left out.")
            self._warnings = kept
            return found

        def _read_time(self, code: str, value: Any) -> Any:
            told = super()._read_time(code, value)
            times = _times_in(value) if value is not None and not told["sampling_rate"] else None
            if times is not None:
                rate = round((times.size - 1) / float(times[-1] - times[0]), 6)
                told |= {"sampling_rate": round(rate), "sampling_rate_exact": rate}
                told |= {"head": f"{times[0]:.6f}", "head_unit": "s"}
            return told

        def _join_sets(self, sets: Sequence[Any], series: Any, file_path: Path) -> Any:
            """Leads of several sets (a print's columns, say), each told its first sample, or None.

            Joined are only sets of one rate that say when they begin, not far from each other, and no lead of
            which stands in two.
            """
            before, times = list(self._warnings), []
            for one in sets:
                alone = copy.copy(series)  # a series of this set alone
                alone[:] = [c for c in series if c.find("sequenceSet") in (None, one)]
                some, about = super()._read_sequence_set(alone, "rhythm", file_path)
                if some:
                    times.append((_head_of(about), about, some))
            leads = [lead for _, _, some in times for lead in some]
            begins = [at for at, *_ in times if at is not None]
            rates = {about["sampling_rate_exact"] for _, about, _ in times}
            unlike = len({x.label for x in leads}) < len(leads) or len(rates) != 1
            # what a clock that was set anew tells apart by days is no axis of time
            if unlike or len(begins) < len(times) or max(begins) - min(begins) > FURTHEST:
                self._warnings = before
                return None
            self._warnings = [w for w in self._warnings if "sequence sets in the rhythm" not in w]
            for at, _, some in times:
                for lead in some:
                    lead.annotations["first_sample"] = str(round(((at or 0.0) - min(begins)) * min(rates)))
            return leads, times[0][1]

        @staticmethod
        def _make_lead(label: str, samples: Any, value: Any, rate: int) -> Any:
            for name in ("scale", "origin"):
                said = None if (found := value.find(name)) is None else found.get("value")
                if said is not None and not _is_number(said, name == "scale"):
                    raise ECGError(
                        f"the file gives lead {label} the {name} {said[:20]!r}, which is no number by HL7: "
                        "what its samples are in mV is not known. Export it again."
                    )
            return HL7aECGParser._make_lead(label, samples, value, rate)

    return Parser()


def _times_in(value: Any) -> NDArray[np.float64] | None:
    """The times in s that a sequence lists in place of an increment, one a sample; None where it does not.

    Raises
    ------
    ECGError : they are not evenly spaced, or in no unit of time that is known
    """
    words = str(value.findtext("digits") or "").split()
    scale = value.find("scale")
    if len(words) < 2 or scale is None:
        return None
    factor, unit = scale.get("value", ""), _SECONDS.get(scale.get("unit", ""))
    if unit and _is_number(factor, True) and all(_is_number(word, False) for word in words):
        times = np.array(words, dtype=np.float64) * float(factor) * unit
        steps = np.diff(times)
        if steps.min() > 0 and np.ptp(steps) <= 0.5 * np.median(steps):
            return times + _origin_of(value)
    raise ECGError(
        "the file lists a time for each sample, and these are not evenly spaced seconds: it has no sampling "
        "rate. Export it again, or as DICOM or CSV."
    )


def _origin_of(value: Any) -> float:
    """What a list of times is counted from, in s; 0 where it does not say."""
    origin = value.find("origin")
    said = "" if origin is None else origin.get("value", "")
    return float(said) * _SECONDS.get(origin.get("unit", ""), 0.0) if _is_number(said, False) else 0.0


def _head_of(about: dict[str, Any]) -> float | None:
    """When a set begins, in s of the file's own clock; None where it does not say."""
    head, unit = about.get("head") or "", about.get("head_unit") or "s"
    if about.get("code", "").upper() == "TIME_RELATIVE":
        factor = _SECONDS.get(unit)
        return float(head) * factor if factor and _is_number(head, False) else None
    found = re.match(r"(\d{14})(\.\d+)?([-+]\d{4})?", head)
    if not found:
        return None
    try:  # as if in UTC, where the file names no zone: the zone of this machine is not the file's
        at = datetime.strptime(found[1] + (found[3] or "+0000"), "%Y%m%d%H%M%S%z")
        return at.timestamp() + float(found[2] or 0)
    except ValueError:
        return None


def _code(series: Any) -> str:
    code = series.find("code")
    return "" if code is None else str(code.get("code", "")).upper()


def _most_samples(series: Any) -> int:
    return max((len((digits.text or "").split()) for digits in series.iter("digits")), default=0)


def _is_number(text: str, not_zero: bool) -> bool:
    try:
        number = float(text)
    except ValueError:
        return False
    return math.isfinite(number) and not (not_zero and number == 0)
