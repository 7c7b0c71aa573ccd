"""ecgdatakit's parser of HL7 aECG, mended where it passes over what a file says.

It knows leads by one of their names alone, takes the first series for the rhythm, and makes 1 of a scale that
is no number.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

from clear_hug.ecg import ECGError
from clear_hug.leads import canonical_lead


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
            kept = [w for w in self._warnings if "sequences ignored" not in w]
            if kind == "rhythm" and len(kept) < len(self._warnings):
                kept.append("Sequences by no name of a lead that is known are left out.")
            self._warnings = kept
            return found

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
