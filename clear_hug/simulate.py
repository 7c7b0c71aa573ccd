"""Simulated 12-lead ECGs with planted, known changes.

A beating dipole (sums of Gaussians for P, Q, R, S and T in three dimensions) is seen by eight independent
leads, from which the four others follow: so Einthoven's and Goldberger's identities hold, and a wave has in
each lead the polarity and size that its direction gives it. What a seed draws for one purpose never
depends on what is planted: two records of one seed differ in the planted change alone.

References
----------
McSharry PE, Clifford GD, Tarassenko L, Smith LA. A dynamical model for generating synthetic
electrocardiogram signals. IEEE Trans Biomed Eng 2003; 50:289-294 (waves as Gaussians, scaled by rate).
Sameni R, Clifford GD, Jutten C, Shamsollahi MB. Multichannel ECG and noise modeling: application to
maternal and fetal ECG signals. EURASIP J Adv Signal Process 2007; 043407 (the three-dimensional dipole).
Dower GE, Machado HB, Osborne JA. On deriving the electrocardiogram from vectorcardiographic leads.
Clin Cardiol 1980; 3:87-95 (the lead coefficients).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import ECG, MAX_FS, MIN_FS, ECGError, derive_limb_leads
from clear_hug.leads import LEADS, N_LEADS, canonical_lead

Array = NDArray[np.float64]

# Dipole axes: X to the patient's left, Y to the feet, Z to the back (Frank's).
_INDEPENDENT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
_DOWER = np.array([
    [0.632, -0.235, 0.059],
    [0.235, 1.066, -0.132],
    [-0.515, 0.157, -0.917],
    [0.044, 0.164, -1.387],
    [0.882, 0.098, -1.277],
    [1.213, 0.127, -0.601],
    [1.125, 0.127, -0.086],
    [0.831, 0.076, 0.230],
])  # fmt: skip  # (8, 3): the independent leads from X, Y, Z

# (8, 9): the independent leads from the electrodes RA, LA, LL, V1..V6; noise is born in electrodes.
_FROM_ELECTRODES = np.zeros((8, 9))
_FROM_ELECTRODES[0, [0, 1]] = -1, 1
_FROM_ELECTRODES[1, [0, 2]] = -1, 1
_FROM_ELECTRODES[2:, :3] = -1 / 3
_FROM_ELECTRODES[2:, 3:] = np.eye(6)


def _twelve_from_eight() -> Array:
    """(12, 8): all leads from the independent ones."""
    rows = np.full((N_LEADS, 8), np.nan)
    rows[[LEADS.index(lead) for lead in _INDEPENDENT]] = np.eye(8)
    return derive_limb_leads(rows)[0]  # type: ignore[return-value]


_TWELVE = _twelve_from_eight()
DIPOLE_TO_LEADS: Array = _TWELVE @ _DOWER
"""(12, 3): all leads from the dipole's X, Y, Z."""


def move_leads(values: Mapping[str, float]) -> Array:
    """(12,) mV by lead: the least that gives the named leads what is asked and keeps the identities."""
    rows = [LEADS.index(lead) for lead in values]
    moved: Array = _TWELVE @ np.linalg.lstsq(_TWELVE[rows], np.array(list(values.values())), rcond=None)[0]
    return moved


# Waves, one a row: centre (s from the R peak), SD (s), and the dipole's X, Y, Z (mV) at its centre.
# P and T are given for RR = 1 s and move with the rate; QRS does not.
_P = np.array([
    [-0.172, 0.017, 0.050, 0.080, -0.060],  # right atrium: forward and down
    [-0.146, 0.020, 0.090, 0.070, 0.050],  # left atrium: left and back
])  # fmt: skip
_QRS = np.array([
    [-0.026, 0.007, -0.14, -0.02, -0.20],  # septum: to the right and forward
    [0.000, 0.011, 1.20, 0.68, 0.22],  # free wall: left and down
    [0.023, 0.010, -0.20, -0.10, 0.60],  # base: back and up
])  # fmt: skip
_T = np.array([
    [0.245, 0.050, 0.14, 0.10, -0.11],  # the slow rise ...
    [0.300, 0.032, 0.15, 0.11, -0.12],  # ... and the quicker fall
])  # fmt: skip
_PVC_QRS = np.array([
    [-0.040, 0.022, 0.35, 0.55, 0.20],
    [0.000, 0.024, 0.85, 1.05, 0.85],
    [0.044, 0.024, 0.45, 0.45, 0.50],
])  # fmt: skip  # from the right ventricular outflow: like left bundle branch block, axis downwards
_PVC_T = np.array([[0.310, 0.060, -0.32, -0.38, -0.35]])
_PACED_QRS = np.array([
    [-0.040, 0.021, 0.30, -0.50, 0.25],
    [0.000, 0.024, 0.58, -0.95, 0.75],
    [0.044, 0.023, 0.28, -0.40, 0.45],
])  # fmt: skip  # from the right ventricular apex: like left bundle branch block, axis upwards
_PACED_T = np.array([[0.310, 0.060, -0.22, 0.32, -0.30]])
_SPIKE = np.array([-0.100, 0.0008, 1.5, -2.0, 0.8])

_PREMATURITY = 0.35  # of the RR interval; the next sinus beat comes in its time: a compensatory pause
_BEAT_SPAN = (-0.32, 0.80)  # s around an R peak, outside which a beat is silent
_J_POINT = 0.055  # s after the R peak of a narrow QRS
_RESPIRATION = 0.25  # Hz


def simulate_ecg(kind: str = "normal", seed: int = 0, **settings: Any) -> ECG:
    """A simulated 12-lead ECG, the same for the same arguments.

    Parameters
    ----------
    kind : a key of `SIMULATED`; a named preset of the settings below
    seed : int
    fs : Hz, 500 by default
    seconds : length, 10 by default; 1 to 7200
    heart_rate : beats a minute, 72 by default; 20 to 300
    rr_sd : SD of the RR intervals over their mean
    axis : degrees by which the frontal axis is turned clockwise (to the right)
    fibrillation : no P waves, a fibrillating baseline instead
    paced : ventricular pacing: thin spikes, wide QRS, no P waves
    pvc_at : indices of the beats that come early and wide, without a P wave; 1 is the second beat
    n_pvc : so many such beats at random places, never two in a row
    pvc_axis : degrees by which their own axis is turned clockwise, beyond `axis`: another origin
    pvc_width : factor on the time that their QRS takes; 0.7 to 1.5
    st_elevation : lead name -> mV from the J point to the T wave, in every beat but premature ones.
        Limb leads hang together: those not named move as little as the identities allow
    lead_gain : lead name -> factor on all that the lead records; 0 is an electrode off. In a limb lead this
        is a fault of the recorder: the identities no longer hold there
    gain : factor on the whole dipole
    qrs_gain : factor on the QRS complex alone
    noise_mv, wander_mv, emg_mv : SD in a limb lead of white noise, baseline wander, and muscle bursts
        at their height
    mains_mv : amplitude of 50 Hz mains, where fs can hold it

    Returns
    -------
    ECG
        `simulated` is True. `truth` holds "r_peaks" ((beat,) s: the main QRS vector), "beats" and "leads"
        (indices of the beats and names of the leads that the change is confined to; empty where it is in
        all of them alike), and "change" (a line).

    Raises
    ------
    ECGError : an unknown kind, setting, lead or beat, or a rate or length that makes no ECG
    """
    if kind not in PRESETS:
        raise ECGError(f"unknown simulated ECG {kind!r}; expected one of {', '.join(PRESETS)}.")
    if unknown := [name for name in settings if name not in _DEFAULTS]:
        raise ECGError(f"unknown setting {unknown[0]!r} of a simulated ECG; expected {', '.join(_DEFAULTS)}.")
    settings = {**PRESETS[kind][1], **settings}
    signal, fs, truth = _simulate(seed, **settings)
    truth["change"] = _change(settings, truth["beats"])
    name = f"simulated: {kind}, seed {seed}"
    return ECG(signal, fs, record_id=name, source="simulated", simulated=True, truth=truth)


def _simulate(
    seed: int,
    *,
    fs: float = 500.0,
    seconds: float = 10.0,
    heart_rate: float = 72.0,
    rr_sd: float = 0.02,
    axis: float = 0.0,
    fibrillation: bool = False,
    paced: bool = False,
    pvc_at: Collection[int] = (),
    n_pvc: int = 0,
    pvc_axis: float = 0.0,
    pvc_width: float = 1.0,
    st_elevation: Mapping[str, float] | None = None,
    lead_gain: Mapping[str, float] | None = None,
    gain: float = 1.0,
    qrs_gain: float = 1.0,
    noise_mv: float = 0.008,
    wander_mv: float = 0.015,
    emg_mv: float = 0.0,
    mains_mv: float = 0.0,
) -> tuple[NDArray[np.float32], float, dict[str, Any]]:
    if not 20 <= heart_rate <= 300:
        raise ECGError(f"heart_rate = {heart_rate:g}/min; expected 20 to 300.")
    if not 1 <= seconds <= 7200:
        raise ECGError(f"seconds = {seconds:g}; expected 1 to 7200.")
    if not MIN_FS <= fs <= MAX_FS:
        raise ECGError(f"fs = {fs:g} Hz; expected {MIN_FS:g} to {MAX_FS:g} Hz.")
    if not 0.7 <= pvc_width <= 1.5:
        raise ECGError(f"pvc_width = {pvc_width:g}; expected 0.7 to 1.5.")
    st, gains = _by_lead(st_elevation), _by_lead(lead_gain)
    rng_heart, rng_rhythm, rng_plant, rng_noise = np.random.default_rng(seed).spawn(4)
    t = np.arange(round(seconds * fs)) / fs
    rr = 60 / heart_rate

    r_times = _r_times(rng_rhythm, seconds, rr, rr_sd)
    inside = np.flatnonzero((r_times >= 0) & (r_times < t[-1]))
    pvc = _pvc_indices(rng_plant, inside.size, pvc_at, n_pvc)
    r_times[inside[pvc]] -= _PREMATURITY * rr
    early = set(inside[pvc].tolist())

    beat = _beat_waves(rng_heart, fs, rr, qrs_gain, fibrillation, paced)
    pvc_qrs = _scaled(_PVC_QRS, qrs_gain) * [pvc_width, pvc_width, 1, 1, 1]
    pvc_beat = np.vstack([pvc_qrs, _at_rate(_PVC_T, rr)])
    pvc_beat[:, 2:] @= _turned(pvc_axis).T
    dipole, plateau = np.zeros((3, t.size)), np.zeros(t.size)
    for i, r in enumerate(r_times):
        part = slice(*np.searchsorted(t, (r + _BEAT_SPAN[0], r + _BEAT_SPAN[1])))
        premature = i in early
        waves = pvc_beat if premature else beat
        dipole[:, part] += waves[:, 2:].T @ _gaussians(t[part] - r, waves)
        if st and not premature:
            plateau[part] += _st_plateau(t[part] - r, rr)
    if fibrillation:
        dipole += _f_waves(rng_rhythm, t)
    breath = np.sin(2 * np.pi * _RESPIRATION * t + rng_heart.uniform(0, 2 * np.pi))
    dipole *= gain * (1 + 0.03 * breath)

    eight = _DOWER @ _turned(axis) @ dipole
    eight += _FROM_ELECTRODES @ _noise(rng_noise, t, fs, noise_mv, wander_mv, emg_mv, mains_mv)
    signal = _TWELVE @ eight
    moved = np.zeros(N_LEADS)
    if st:
        moved = move_leads(st)
        signal += moved[:, None] * plateau
    for lead, factor in gains.items():
        signal[LEADS.index(lead)] *= factor

    touched = [lead for lead, mv in zip(LEADS, moved, strict=True) if abs(mv) > 1e-9 or lead in gains]
    r_peaks = r_times[inside]
    r_peaks.flags.writeable = False
    truth = {"r_peaks": r_peaks, "beats": tuple(pvc.tolist()), "leads": tuple(touched)}
    return signal.astype(np.float32), fs, truth


_DEFAULTS: dict[str, Any] = dict(_simulate.__kwdefaults__ or {})
_IN_WORDS = {
    "heart_rate": "heart rate {:g}/min",
    "rr_sd": "RR intervals with an SD of {:.0%}",
    "axis": "frontal axis turned by {:g} degrees",
    "fibrillation": "fibrillating baseline instead of P waves",
    "paced": "ventricular pacing",
    "pvc_axis": "their axis turned by {:g} degrees",
    "pvc_width": "their QRS x {:g} as long",
    "st_elevation": "ST moved, mV ({})",
    "lead_gain": "voltage factor by lead ({})",
    "gain": "all voltages x {:g}",
    "qrs_gain": "QRS voltage x {:g}",
    "noise_mv": "white noise of {:g} mV",
    "wander_mv": "baseline wander of {:g} mV",
    "emg_mv": "muscle bursts of {:g} mV",
    "mains_mv": "50 Hz mains of {:g} mV",
}


def _change(settings: Mapping[str, Any], beats: Collection[int]) -> str:
    """What differs from a normal ECG, in a line; beats counted from 1 as people do."""
    words = ["premature wide beats: " + ", ".join(str(k + 1) for k in beats)] if beats else []
    for name, text in _IN_WORDS.items():
        value = settings.get(name, _DEFAULTS[name])
        if value in (_DEFAULTS[name], {}) or (name.startswith("pvc") and not beats):
            continue
        if isinstance(value, Mapping):
            value = ", ".join(f"{lead}: {number:g}" for lead, number in value.items())
        words.append(text.format(value))
    return "; ".join(words) or "none"


def _by_lead(values: Mapping[str, float] | None) -> dict[str, float]:
    """The values under the standard lead names."""
    out: dict[str, float] = {}
    for name, value in (values or {}).items():
        lead = canonical_lead(name)
        if lead not in LEADS:
            raise ECGError(f"unknown lead {name!r}; expected one of {', '.join(LEADS)}.")
        out[lead] = float(value)
    return out


def _r_times(rng: np.random.Generator, seconds: float, rr: float, rr_sd: float) -> Array:
    """R-peak times in s, from one beat before the record to one after; the mean RR is kept as asked."""
    n = int(seconds / rr) + 1
    draws = np.clip(rng.normal(size=n), -2, 2) * rr_sd
    intervals = rr * np.maximum(1 + draws - draws.mean(), 0.3)
    first = rng.uniform(0.4, 0.6) * rr
    return first + np.concatenate([[-rr, 0.0], np.cumsum(intervals)])


def _pvc_indices(rng: np.random.Generator, n_beats: int, at: Collection[int], n: int) -> NDArray[np.intp]:
    """Indices of the premature beats, sorted."""
    if bad := [k for k in at if not 1 <= k < n_beats]:
        raise ECGError(f"no premature beat can stand at {bad[0]}; the record allows 1 to {n_beats - 1}.")
    places = np.arange(1 + rng.integers(2), n_beats - 1, 2)  # every other beat: never two in a row
    if n > places.size:
        raise ECGError(f"{n} premature beats do not fit; {places.size} is the most.")
    drawn = rng.permutation(places)[:n]
    return np.unique(np.concatenate([np.array(list(at), np.intp), drawn.astype(np.intp)]))


def _scaled(waves: Array, factor: float) -> Array:
    return waves * [1, 1, factor, factor, factor]


def _at_rate(waves: Array, rr: float, power: float = 0.5) -> Array:
    """P or T as it lies at this RR interval (s): times grow with its power (Bazett's is 1/2)."""
    return waves * [rr**power, rr**power, 1, 1, 1]


def _gaussians(t: Array, waves: Array) -> Array:
    """(wave, sample) of height 1."""
    return np.exp(-0.5 * ((t - waves[:, :1]) / waves[:, 1:2]) ** 2)


def _beat_waves(
    rng: np.random.Generator, fs: float, rr: float, qrs_gain: float, fibrillation: bool, paced: bool
) -> Array:
    """(wave, 5): one beat of this heart; hearts differ by a few per cent."""
    own = 1 + 0.05 * np.clip(rng.normal(size=3), -2, 2)
    if paced:
        spike = _SPIKE.copy()
        spike[1] = max(spike[1], 0.4 / fs)  # no thinner than what the sampling can show
        return np.vstack([spike, _scaled(_PACED_QRS, own[1] * qrs_gain), _at_rate(_PACED_T, rr)])
    p = _scaled(_at_rate(_P, min(rr, 1.2), 1 / 3), 0.0 if fibrillation else own[0])
    return np.vstack([p, _scaled(_QRS, own[1] * qrs_gain), _scaled(_at_rate(_T, rr), own[2])])


def _st_plateau(t: Array, rr: float) -> Array:
    """(sample,) 0 before the J point, 1 after it, and back to 0 under the T wave."""
    rise = 1 / (1 + np.exp(-np.clip((t - _J_POINT) / 0.005, -50, 50)))
    fall = 1 / (1 + np.exp(np.clip((t - 0.29 * np.sqrt(rr)) / (0.025 * np.sqrt(rr)), -50, 50)))
    return rise * fall


def _f_waves(rng: np.random.Generator, t: Array) -> Array:
    """(3, sample) mV: the fibrillating atria, a wandering 6 Hz, largest towards V1."""
    drift = np.sin(2 * np.pi * np.outer([0.31, 0.83], t) + rng.uniform(0, 6.3, (2, 1))).sum(axis=0)
    phase = 2 * np.pi * 6.2 * t + 1.1 * drift
    wave = np.sin(phase) + 0.35 * np.sin(2 * phase + 1)
    return np.array([[-0.02], [0.03], [-0.05]]) * wave * (1 + 0.3 * drift / 2)


def _turned(degrees: float) -> Array:
    """(3, 3): the dipole turned in the frontal plane, clockwise as the reader sees the patient."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _noise(
    rng: np.random.Generator, t: Array, fs: float, noise: float, wander: float, emg: float, mains: float
) -> Array:
    """(9, sample) mV at the electrodes; a limb lead is the difference of two, hence the root of 2."""
    out = rng.normal(size=(9, t.size)) * noise
    for hz in (_RESPIRATION, 0.17, 0.07):
        height, phase = rng.normal(size=(9, 1)), rng.uniform(0, 2 * np.pi, (9, 1))
        out += wander * np.sqrt(2 / 3) * height * np.sin(2 * np.pi * hz * t + phase)
    rng_mains, rng_emg = rng.spawn(2)
    if mains and fs > 100:
        out += mains * rng_mains.normal(size=(9, 1)) * np.sin(2 * np.pi * 50 * t + rng_mains.uniform(0, 6.3))
    if emg:
        centres = rng_emg.uniform(0, t[-1], (1 + int(t[-1] / 4), 1))
        bursts = np.exp(-0.5 * ((t - centres) / 0.35) ** 2).max(axis=0)
        out += emg * bursts * rng_emg.normal(size=(9, t.size))
    return out / np.sqrt(2)


PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "normal": ("normal sinus rhythm, 72/min", {}),
    "bradycardia": ("sinus bradycardia, 45/min", {"heart_rate": 45.0}),
    "tachycardia": ("sinus tachycardia, 150/min", {"heart_rate": 150.0}),
    "irregular": (
        "irregular rhythm without P waves",
        {"heart_rate": 92.0, "rr_sd": 0.22, "fibrillation": True},
    ),
    "premature": ("premature wide beats", {"n_pvc": 2}),
    "low_voltage": ("low voltage", {"gain": 0.33}),
    "high_voltage": ("high voltage", {"qrs_gain": 2.0}),
    "lead_off": ("electrode V3 off", {"lead_gain": {"V3": 0.0}}),
    "noise": (
        "baseline wander, mains and muscle noise",
        {"noise_mv": 0.02, "wander_mv": 0.25, "mains_mv": 0.06, "emg_mv": 0.12},
    ),
    "long": ("normal sinus rhythm, 30 s long", {"seconds": 30.0}),
    "paced": ("ventricular pacing, 70/min", {"heart_rate": 70.0, "rr_sd": 0.0, "paced": True}),
}
"""kind -> (what it is, in words; the settings of `simulate_ecg` that differ from a normal ECG's)."""

TITLES: dict[str, str] = {kind: f"simulated: {words}" for kind, (words, _) in PRESETS.items()}
"""kind -> the line a menu shows."""

SIMULATED: dict[str, Callable[..., ECG]] = {kind: partial(simulate_ecg, kind) for kind in PRESETS}
"""kind -> a function of (seed, and any setting) that makes it."""
