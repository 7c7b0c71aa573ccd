"""The values that are measured in an ECG, and the median beat that they are measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import freeze
from clear_hug.leads import N_LEADS

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
NAN = float("nan")


def _leads() -> Floats:
    return np.full(N_LEADS, np.nan)


@dataclass(frozen=True, eq=False)
class MedianBeat:
    """The median of a record's dominant beats, all leads on one time axis, and where its waves lie.

    Attributes
    ----------
    values : (12, sample) float64, mV (the record's own unit where the voltage is unknown)
        Level between P and QRS at 0; NaN for an absent lead.
    fs : Hz, of `values`
    zero : the sample at which the R peak lies
    r_peaks : (beat,) s on the original trace, of all beats of the stretch that was measured
    dominant : (beat,) bool, the beats that the median was taken of
    p, qrs, t : (2,) s from the R peak, onset and offset in all leads together; NaN where not found
    """

    values: Floats
    fs: float
    zero: int
    r_peaks: Floats
    dominant: Bools
    p: Floats
    qrs: Floats
    t: Floats

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def times(self) -> Floats:
        """(sample,) s from the R peak."""
        out: Floats = (np.arange(self.values.shape[1]) - self.zero) / self.fs
        return out


@dataclass(frozen=True, eq=False)
class Measurements:
    """What was measured in one ECG; a value that could not be is NaN, with its reason in `reasons`.

    Attributes
    ----------
    heart_rate : beats/min, of the mean RR interval over all beats of the stretch that was measured
    rr, rr_sd, rmssd : ms, mean RR interval, SD of the RR intervals, and root mean square of the
        differences between successive ones; intervals on both sides of a beat of another shape left out
    regular : bool or None, whether the rhythm is regular between beats of the usual shape; None where too few
        intervals tell: fewer than three, or less than half of them
    n_beats, n_other, n_premature : beats of the stretch that was measured; those whose QRS has another shape
        than usual (correlation over all leads 0.5 at most); those of the usual shape that come early
    n_usual, n_with_p : beats that the median was taken of; those of them whose own trace has its P wave
        (correlation over all leads above 0.5); 0 where no P wave was found
    p, pr, qrs, qt : ms, duration of P, onset of P to onset of QRS, duration of QRS, onset of QRS to end of T
    qtc_bazett, qtc_fridericia, qtc_framingham, qtc_hodges : ms, QT corrected for `rr`
    p_axis, qrs_axis, t_axis : degrees, -180 to 180, frontal axis from the net areas in I and aVF; of a
        QRS of 120 ms or more from R less the deeper of Q and S: its broad terminal wave does not decide
    r_amplitude, s_amplitude : (12,) mV, height of the tallest R, and depth of S after the first R (or of QS),
        both >= 0; 0 says that the lead has no such wave; NaN where the lead is absent or the voltage unknown
    st_j : (12,) mV, level at the J point, over the 8 ms after the offset of QRS, against that before QRS
    st : (12,) mV, level 60 ms after the J point (the offset of QRS), against the level before QRS
    sokolow_lyon : mV, S in V1 and the taller R of V5 and V6
    cornell : mV, R in aVL and S in V3
    pacing_spikes : (spike,) s on the original trace
    irregular_without_p : bool, irregular and no P wave found, as in atrial fibrillation
    reasons : name -> sentence
        Why a value is absent, by the name of its attribute; by the name of a lead why it is not measured.
    qtc_doubt : sentence
        Why no QTc of this record is to be relied upon; "" where nothing speaks against it.
    span : (start, stop) s on the original trace, the stretch that was measured
    median : MedianBeat or None
    """

    heart_rate: float = NAN
    rr: float = NAN
    rr_sd: float = NAN
    rmssd: float = NAN
    regular: bool | None = None
    n_beats: int = 0
    n_other: int = 0
    n_premature: int = 0
    n_usual: int = 0
    n_with_p: int = 0
    p: float = NAN
    pr: float = NAN
    qrs: float = NAN
    qt: float = NAN
    qtc_bazett: float = NAN
    qtc_fridericia: float = NAN
    qtc_framingham: float = NAN
    qtc_hodges: float = NAN
    p_axis: float = NAN
    qrs_axis: float = NAN
    t_axis: float = NAN
    r_amplitude: Floats = field(default_factory=_leads)
    s_amplitude: Floats = field(default_factory=_leads)
    st_j: Floats = field(default_factory=_leads)
    st: Floats = field(default_factory=_leads)
    sokolow_lyon: float = NAN
    cornell: float = NAN
    pacing_spikes: Floats = field(default_factory=lambda: np.empty(0))
    irregular_without_p: bool = False
    reasons: Mapping[str, str] = field(default_factory=dict)
    qtc_doubt: str = ""
    span: tuple[float, float] = (0.0, 0.0)
    median: MedianBeat | None = None

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def qtc(self) -> float:
        """QTc by Bazett, ms: the one that devices print."""
        return self.qtc_bazett

    @property
    def paced(self) -> bool:
        """Whether pacing spikes were found."""
        return self.pacing_spikes.size > 0

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and words by name, for a file: NaN is None, leads are lists; no median beat."""
        out: dict[str, Any] = {}
        for name, value in vars(self).items():
            if name == "median":
                continue
            if isinstance(value, np.ndarray):
                out[name] = [float(v) if np.isfinite(v) else None for v in value]
            elif isinstance(value, float):
                out[name] = value if np.isfinite(value) else None
            elif isinstance(value, Mapping):
                out[name] = dict(value)
            else:
                out[name] = list(value) if isinstance(value, tuple) else value
        return out
