"""What a file of numbers says beside them, and what is guessed where it does not: rate, unit, leads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import MAX_FS, MIN_FS, ECGError
from clear_hug.io.identities import LIMB, OFF, misfit
from clear_hug.io.recording import Asked, NeedsAnswer, millivolt, sex_of, without_absent, years
from clear_hug.leads import LEADS, canonical_lead

_CHEST = ("V1", "V2", "V3", "V4", "V5", "V6")
# The orders in which twelve leads are met, the usual one first.
ORDERS: dict[int, tuple[tuple[str, ...], ...]] = {
    12: (
        LEADS,
        ("I", "II", "III", "aVL", "aVR", "aVF", *_CHEST),
        ("aVL", "I", "-aVR", "II", "aVF", "III", *_CHEST),
        ("aVL", "I", "aVR", "II", "aVF", "III", *_CHEST),
        ("I", "II", *_CHEST, "III", "aVR", "aVL", "aVF"),
        (*_CHEST, "I", "II", "III", "aVR", "aVL", "aVF"),
        ("III", "aVF", "II", "aVR", "I", "aVL", *_CHEST),
    ),
    8: (("I", "II", *_CHEST), (*_CHEST, "I", "II")),
    6: (LIMB,),
    3: (("I", "II", "III"),),
    15: ((*LEADS, "X", "Y", "Z"),),
}


@dataclass(frozen=True)
class Facts:
    """What a file of arrays says beside them, under any of the usual keys."""

    fs: float | None = None
    unit: str = ""
    gain: float | None = None  # values a mV
    gains: tuple[float, ...] = ()  # the same of each lead, where they differ
    zeros: tuple[float, ...] = ()  # the count of 0 mV of each lead, where they differ
    step: float | None = None  # what else may be the worth of a count, in the file's unit
    names: tuple[str, ...] = ()
    age: float | None = None
    sex: str | None = None
    baseline: float = 0.0  # the count of 0 mV
    units: tuple[str, ...] = ()  # the unit of each lead, where they differ
    by_step: bool = False  # the gain follows from `step`, whose unit the file names


_FS = re.compile(  # "ecg_rate" is a heart's
    r"^(freq|frequency|rate|(ecg|ekg|signals?|sig|data|adc)?(fs|fsecg|fsamp(l(e|ing))?|sf|sr|sps|srate|sfreq|hz|"
    r"samp(l(e|ing))?(freq|frequency|rate|fs)|samplespersec(ond)?))(hz|inhz)?$"
)
_INTERVAL = re.compile(  # from sample to sample
    r"^(dt|ts|deltat|timestep|sampl(e|ing)(interval|period|step))(in)?((m|u)?s(ec(onds?)?)?)?$"
)
_UNIT = re.compile(
    r"^((ecg|signal|lead|data|amplitude|voltage|physical|phys|measurement|y)?units?|unittext|unitofmeasure(ment)?)$"
)
_A_MV = re.compile(r"^(adc)?gains?$|^(adu|counts?|units?|lsbs?|digits?)permv$")  # counts of one mV
_STEP = re.compile(r"^((adc|amplitude)?(resolution|lsb)|(u?v|units?)per(bit|lsb|count)|scale(factor)?)$")
_STEP_IN = re.compile(  # the same with its unit
    r"^(?:(?:adc|amplitude)?(?:resolution|lsb)(?:in)?([unm]v)|([unm]v|(?:micro|milli)volts?)per(?:bit|lsb|count))$"
)
_NOT_THE_ORDER = re.compile(  # a list of leads that are left out, or as they are shown
    r"bad|exclu|miss|lost|absent|nois|drop|remov|reject|discard|flat|invalid|artefact|artifact|display|plot|print"
)
_NAMES = re.compile(
    r"^(leads?|(lead|sig|signal|channel|chan|ch|column)(names?|labels?|order)|channels?|signames?|columns|"
    r"labels|titles|desc)$"
)


def facts(said: Mapping[str, Any]) -> Facts:
    """Read rate, unit, lead names, age and sex from what lies beside an array, by key."""
    fs = interval = unit = gain = step_of = counts_a_mv = age = sex = baseline = None
    names: tuple[str, ...] = ()
    of_each: tuple[str, ...] = ()
    step: dict[str, Any] = {}
    for place, value in said.items():
        key = re.sub(r"[^a-z]", "", re.split(r"[/@]", place)[-1].lower())
        if _FS.match(key):
            per = 1000 if re.search(r"\d\s*khz", str(value).lower()) else 1
            fs = fs or (_number(value) or 0.0) * per or None
        elif (by := _INTERVAL.match(key)) and (length := _number(value)):
            interval = interval or _rate_of_interval(length, by[5] or "", str(value))
        elif key in ("isi", "isiunits"):  # AcqKnowledge's, from sample to sample
            step[key] = value
        elif _UNIT.match(key):
            texts = [value] if isinstance(value, str) else value
            if isinstance(texts, list) and len({str(t).strip().lower() for t in texts}) == 1:
                unit = unit or str(texts[0]).strip()
            elif isinstance(texts, list):
                of_each = of_each or tuple(str(t).strip() for t in texts)
        elif _A_MV.match(key):
            gain = gain or _number(value)
        elif (with_unit := _STEP_IN.match(key)) and (size := _number(value)):
            step_of = step_of or size
            counts_a_mv = 1 / (size * (millivolt(with_unit[1] or with_unit[2]) or 1.0))
        elif _STEP.match(key):
            step_of = step_of or _number(value)
        elif key in ("baseline", "adczero", "adcbaseline"):
            negative = str(value).strip().startswith("-")
            baseline = baseline or (_number(str(value).strip().lstrip("-")) or 0.0) * (-1 if negative else 1)
        elif _NAMES.match(key) and not names:
            names = _lead_names(value)
        elif key in ("age", "sex", "gender"):
            if key == "age":
                age = years(value)
            else:
                sex = sex_of(value)
    if not names:  # by no key that is known: a list of leads names them all the same, if it is the one
        lists = {
            _lead_names(value)
            for place, value in said.items()
            if isinstance(value, list) and not _NOT_THE_ORDER.search(re.split(r"[/@]", place)[-1].lower())
        }
        lists = {one for one in lists if any(canonical_lead(name.lstrip("-")) in LEADS for name in one)}
        names = lists.pop() if len(lists) == 1 else ()
    by_step = counts_a_mv is not None and not (unit or gain)  # beside a unit it may be done with
    gain = counts_a_mv if by_step else gain
    unit_of_step = {"ms": 1000.0, "s": 1.0}.get(str(step.get("isiunits")), 0.0)
    if not fs and unit_of_step and (length := _number(step.get("isi"))):
        fs = unit_of_step / length
    return Facts(
        fs or interval, unit or "", gain, step=step_of, names=names, age=age, sex=sex,
        baseline=baseline or 0.0, units=() if unit else of_each, by_step=by_step,
    )  # fmt: skip


def _lead_names(value: Any) -> tuple[str, ...]:
    """A list of names, of which most are leads', or a text that parts them; () for anything else."""
    texts = re.split(r"[,;|\s]+", value.strip("[]() ")) if isinstance(value, str) else value
    texts = [str(t).strip(" '\"") for t in texts] if isinstance(texts, list) else []
    return (
        tuple(texts) if sum(canonical_lead(t.lstrip("-")) is not None for t in texts) * 2 > len(texts) else ()
    )


def _rate_of_interval(length: float, unit: str, text: str) -> float | None:
    """Hz of what lies between two samples, in s where no unit stands there."""
    unit = unit or (found[1] if (found := re.search(r"\d\s*([mu]?s)", text)) else "s")
    rate = 1 / (length * {"m": 1e-3, "u": 1e-6, "s": 1.0}[unit[0]])
    return rate if MIN_FS <= rate <= MAX_FS else None


def _number(value: Any) -> float | None:
    match = re.match(r"^\s*(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)", str(value))
    number = float(match[1]) if match else 0.0
    return number if 0 < number < 1e9 else None


def guess_leads(path: Path, leads: NDArray[Any], asked: Asked) -> tuple[Sequence[str], str]:
    """Names for unnamed leads (lead, sample), and the reason ("" where the caller names them)."""
    n = len(leads)
    if isinstance(asked.leads, Sequence):
        if len(asked.leads) != n:
            raise ECGError(f"`leads` names {len(asked.leads)} leads, and {path.name} holds {n}.")
        return list(asked.leads), ""
    orders = ORDERS.get(n)
    if orders is None:
        raise NeedsAnswer(
            f"{path.name} has {n} column{'s' if n > 1 else ''} of values and no heading that names leads; "
            f"expected the twelve in the order {', '.join(LEADS)}, a heading, or say them: leads=[...].",
            "leads", channels=n,
        )  # fmt: skip
    rows = np.stack([without_absent(np.asarray(lead, np.float64))[0] for lead in leads])
    rows = np.nan_to_num(rows, nan=np.nan, posinf=np.nan, neginf=np.nan)
    rows[np.isnan(rows).all(axis=1)] = 0.0
    rows = np.nan_to_num(rows - np.nanmedian(rows, axis=1, keepdims=True))

    def off(order: Sequence[str]) -> float:
        limb = [i for i, name in enumerate(order) if name.lstrip("-") in LIMB]
        signs = np.array([-1.0 if order[i].startswith("-") else 1.0 for i in limb])
        known = tuple(order[i].lstrip("-") for i in limb)
        return misfit(rows[limb] * signs[:, None], known) if len(limb) > 2 else 0.0

    fits = [order for order in orders if off(order) <= OFF]
    usual = orders[0]
    if n == 8:
        return usual, f"The 8 unnamed leads are taken for {', '.join(usual)}: the usual eight."
    if usual in fits:
        how = "the standard order" if n in (12, 15) else f"{', '.join(usual)}"
        return (
            usual,
            f"The {n} unnamed leads are taken in {how}, since they obey II = I + III in it."
            if n != 3
            else (f"The 3 unnamed leads are taken for {how}, since they obey II = I + III."),
        )
    if fits:
        return fits[0], (
            f"The unnamed leads do not obey II = I + III in the standard order; they do in the order "
            f"{', '.join(fits[0])}, which is taken."
        )
    if n in (12, 15):
        return usual, "The unnamed columns do not obey II = I + III: are they in the standard order?"
    raise NeedsAnswer(
        f"{path.name} has {n} unnamed leads, which cannot be told ({', '.join(usual)} would obey "
        "II = I + III); say them: leads=[...].",
        "leads", channels=n,
    )  # fmt: skip


def rate_of(path: Path, times: NDArray[np.float64], what: str = "its column of times") -> float:
    """Hz of times in seconds, by their mean step without gaps, so that rounded times do not bend it."""
    steps = np.diff(times)
    usual = float(np.median(steps)) if steps.size else 0.0
    if not usual > 0 and not (steps.size and times[-1] > times[0] and (steps >= 0).all()):
        raise ECGError(f"{what} of {path.name} does not rise, so that it is no time.")
    if usual > 0:
        # no gap, and no midnight; but times that were rounded take a digit more now and then
        even = steps[(steps >= 0) & (steps < 1.5 * usual + 1.01 * _last_digit(steps))]
        step = float(even.mean())
    else:  # many samples to a time: from one change of it to the next
        at = np.flatnonzero(steps > 0)
        if at.size < 3:
            raise ECGError(
                f"{what} of {path.name} is too coarse to tell a rate: leave it out, and say the rate."
            )
        lasted, samples = np.diff(times[at + 1]), np.diff(at)
        whole = lasted < 1.5 * np.median(lasted)
        step = float(lasted[whole].sum() / samples[whole].sum())
    rate = 1 / step
    near = round(rate)
    return float(near) if near and abs(rate - near) < 2e-3 * near else rate


def _last_digit(steps: NDArray[np.float64]) -> float:
    """What the last decimal digit of times in seconds stands for; 0 where there are more than six."""
    digits = (10.0**-k for k in range(7))
    return next((one for one in digits if (np.abs(steps / one - np.round(steps / one)) < 0.01).all()), 0.0)


def pauses(times: NDArray[np.float64]) -> list[str]:
    """A sentence where times in seconds jump, as where a recording was interrupted."""
    steps = np.diff(times)
    usual = float(np.median(steps)) if steps.size else 0.0
    jumps = steps[steps > max(3 * usual, 0.1)] if usual > 0 else steps[:0]
    if not jumps.size:
        return []
    often = "once" if jumps.size == 1 else f"{jumps.size:,} times"
    return [
        f"The times jump {often}, by up to {jumps.max():,.3g} s: what was not recorded there is left "
        "out, and the RR interval across it is wrong."
    ]


_FASTEST_USUAL = 2100.0  # Hz; 100 Hz in days are 2400 Hz in hours


def unit_of_times(step: float) -> tuple[float, str]:
    """What one of the unit is in s, and its name, in which times that rise by `step` are an ECG's."""
    if step < 0.5:  # a second or more between samples is no ECG, nor are more samples than `MAX_FS`
        longer = ((60.0, "minutes"), (3600.0, "hours"), (86_400.0, "days"))
        fits = [unit for unit in longer if 0 < step * MAX_FS < 1 <= step * MAX_FS * unit[0]]
        usual = [unit for unit in fits if step * unit[0] * _FASTEST_USUAL >= 1]
        return next(iter(usual or fits), (1.0, "seconds"))
    units = ((1e-3, "milliseconds"), (1e-6, "microseconds"), (1e-9, "nanoseconds"))
    return next((unit for unit in units if MIN_FS <= 1 / (step * unit[0]) <= MAX_FS), units[0])


def rate_from(
    path: Path, cell: str, values: NDArray[np.float64], stated: float | None, said: list[str]
) -> float | None:
    """Hz of a column of times, whose heading may name ms; one without a unit is judged by its step."""
    factor = 1.0
    if np.isfinite(values).sum() < 2:
        said.append("The column of times holds none that can be read, and is left out.")
        return stated
    if re.search(r"\b(ms|msec|milliseconds?)\b|_ms$|^ms", cell, re.IGNORECASE):
        factor = 1e-3
    elif re.search(r"\b[uµμ]s\b|_us$", cell, re.IGNORECASE):
        factor = 1e-6
    elif re.search(r"\bns\b|_ns$", cell, re.IGNORECASE):
        factor = 1e-9
    elif re.search(r"\b(s|sec|secs|seconds?)\b|_s$|hh:mm", cell, re.IGNORECASE):
        factor = 1.0
    elif re.search(r"\b(min|minutes?)\b|_min$", cell, re.IGNORECASE):
        factor = 60.0
    elif re.search(r"\b(h|hrs?|hours?)\b|_h$", cell, re.IGNORECASE):
        factor = 3600.0
    else:
        step = float(np.median(np.diff(values)))
        if step == 1:  # milliseconds at 1000 Hz, or the samples' numbers at any rate
            said.append(
                f"The column {cell!r} rises by 1 a sample: it numbers the samples, and tells no rate."
            )
            return stated
        factor, word = unit_of_times(step)
        if factor != 1:
            said.append(f"The times rise by {step:g} a sample: they are taken for {word}.")
    rate = rate_of(path, values * factor, f"column {cell!r}")
    said += pauses(values * factor)
    if stated and abs(stated / rate - 1) > 0.01:
        said.append(contradicting(stated, rate))
    return rate


def contradicting(stated: float, rate: float) -> str:
    """A sentence for a file that names one rate, and whose times give another."""
    return (
        f"The file contradicts itself: it names {stated:g} Hz, and its times give {rate:g} Hz, which is used."
    )
