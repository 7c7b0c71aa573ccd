"""From a recording in the file's own names and units to the standard value: the only place that converts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import ECG, MAX_FS, MIN_FS, WRONG_GAIN, ECGError, ecg_from_leads
from clear_hug.io.identities import limb_check
from clear_hug.io.limits import MIN_SECONDS
from clear_hug.io.recording import (
    SPAN_MV,
    Asked,
    Channel,
    NeedsAnswer,
    NoSample,
    Recording,
    garbled,
    median_span,
    millivolt,
    some,
    within,
    without_absent,
)
from clear_hug.leads import LEADS, canonical_lead, is_modified, is_turned_over, lead_number, numbered

HIGH_MV = 20.0  # no heart deflects a surface lead further from its own median
LOW_MV = 0.5  # nor do all leads at once stay within this span, but for the rarest low voltage
OUT_OF_LINE = 40.0  # times the median lead's span
SAME_SPAN = 1e-3  # leads whose spans (or SDs) agree to this were each scaled to their own
RESTING_SECONDS = 10.0  # the length of a standard resting ECG
_USUAL_RATES = (100, 125, 128, 200, 240, 250, 256, 300, 360, 400, 500, 512, 1000, 2000)  # Hz
_DEVICE_RATES = (
    *_USUAL_RATES, 50, 60, 62.5, 64, 120, 130, 150, 160, 175, 180, 225, 257, 280, 320, 333, 350, 375, 450,
    480, 488.28, 600, 640, 720, 750, 800, 900, 960, 976.56, 978, 1024, 1200, 1250, 1500, 1600, 2048,
    2400, 2500, 4000, 4096, 5000, 8000, 8192, 10000,
)  # fmt: skip  # Hz, of what is sold and of what was published; another is said to be odd
_RESTING_RATES = (500, 1000, 250, 400, 100)  # Hz, of records padded to a little more than 10 s


def to_ecg(path: Path, recording: Recording, asked: Asked) -> ECG:
    """The standard value; `path` gives it its name and names it in errors."""
    if asked.record is not None and not 1 <= asked.record <= recording.records:
        raise ECGError(f"{path.name} holds one record, and record {asked.record:,} was asked for.")
    said = list(recording.warnings)
    guessed = list(recording.guessed)
    channels = _without_absent(recording.channels, said)
    leads, left_out = _named(path, _renamed(path, channels, asked), said)
    if left_out:
        said.append(f"Left out, since they are not ECG leads by a known name: {some(left_out)}.")
    rate = _rate(path, leads, asked, said, guessed)
    n = max(channel.samples.size for channel in leads.values())
    within("values", n * len(leads), path.name)
    if not MIN_FS <= rate <= MAX_FS:
        raise ECGError(f"{path.name} says {rate:g} Hz; expected {MIN_FS:g} to {MAX_FS:g} Hz.")
    if n / rate < MIN_SECONDS:
        raise ECGError(f"{path.name} lasts {n / rate:.3g} s; at least {MIN_SECONDS:g} s is needed.")
    signals, known = _in_millivolt(leads, recording.bare, asked, said, guessed)
    signals, pulse = _without_calibration(signals, rate)
    if pulse:
        said.append(f"The last {pulse:.1f} s hold the device's calibration pulse and were left out.")
    span = _scaled_each_to_its_own(signals)
    if span and known:
        known = False
        said.append(
            f"Every lead {span}: each was scaled to its own range, so that no voltage can be read "
            "from this record."
        )
    alike = len({s.size for s in signals.values()}) == 1  # else the record refuses them by their lengths
    if alike and not span and (wrong := limb_check(signals)[0]):
        said.append(wrong)
    ecg = ecg_from_leads(
        signals, rate, record_id=path.stem, units_known=known, source=recording.source,
        age=recording.age, sex=recording.sex, stored=recording.stored, device=recording.device,
        filters=recording.filters, guessed=tuple(dict.fromkeys(guessed)),
    )  # fmt: skip
    if not ecg.present.any():
        raise NoSample(f"{path.name} marks every sample of every lead as invalid.")
    if empty := [lead for lead in ecg.absent_leads if lead in signals]:
        said.append(f"In the file, but without a sample that can be read: {', '.join(empty)}.")
    return replace(ecg, warnings=(*dict.fromkeys(said), *_implausible(ecg)))


def _without_absent(channels: list[Channel], said: list[str]) -> list[Channel]:
    """The channels with the counts that stand for "no sample" as NaN."""
    kept, total = [], 0
    for channel in channels:
        samples, taken = without_absent(channel.samples, channel.resolution, channel.offset)
        total += taken
        kept.append(replace(channel, samples=samples) if taken else channel)
    if total:
        hold, are = ("samples hold", "are") if total > 1 else ("sample holds", "is")
        said.append(
            f"{total:,} {hold} a number that stands for no measurement (-32768, -9999 or the like), and "
            f"{are} taken as absent."
        )
    return kept


def _renamed(path: Path, channels: list[Channel], asked: Asked) -> list[Channel]:
    """The channels under the names that the caller gives them."""
    if asked.leads is None:
        return channels
    if isinstance(asked.leads, Mapping):
        new = {name.strip().lower(): lead for name, lead in asked.leads.items()}
        unused = set(new)
        renamed = []
        for channel in channels:
            keys = {channel.name.strip().lower(), (canonical_lead(channel.name.strip()) or "").lower()} & set(
                new
            )
            unused -= keys
            renamed.append(replace(channel, name=new[min(keys)]) if keys else channel)
        if unused:
            raise ECGError(f"{path.name} has no channel named {some(sorted(unused))}, which `leads` names.")
        return renamed
    names = list(asked.leads)
    if len(names) != len(channels):
        raise ECGError(f"`leads` names {len(names)} leads, and {path.name} holds {len(channels)} channels.")
    return [replace(channel, name=name) for channel, name in zip(channels, names, strict=True)]


_SCALP = re.compile(r"^(EEG\s*)?(Fp[12z]|[FPOT]\d{1,2}|[FCPO]z)(-\w+)?$", re.IGNORECASE)
_CHEST = re.compile(r"^C[1-6]$", re.IGNORECASE)


def _named(path: Path, channels: list[Channel], said: list[str]) -> tuple[dict[str, Channel], list[str]]:
    """Channels by lead, the inverted ones turned; and the names of those that are no lead."""
    within("leads", len(channels), path.name)
    leads: dict[str, Channel] = {}
    left_out: list[str] = []
    counted = numbered(c.name for c in channels)
    scalp = any(_SCALP.match(c.name.strip()) for c in channels)  # then C3 and C4 lie on the head
    for channel in sorted(channels, key=lambda c: is_modified(c.name)):  # V5 comes before CM5
        upside_down = is_turned_over(channel.name)
        name = channel.name.strip().lstrip("-")
        lead = canonical_lead(name)
        if counted and lead_number(name) is not None:
            lead = None  # "Lead 2" of a dozen may be any of them
        if lead is None or (scalp and _CHEST.match(name)) or (lead in leads and is_modified(name)):
            left_out.append(channel.name.strip()[:30] or "(no name)")
            continue
        if upside_down:
            channel = replace(channel, samples=-channel.samples)
        if lead in leads and not _same(channel, leads[lead]):
            raise NeedsAnswer(
                f"lead {lead} stands twice in {path.name}; keep one of the two, or say each channel's lead: "
                "leads=[...].",
                "leads", channels=len(channels),
            )  # fmt: skip
        if lead in leads:
            said.append(f"Lead {lead} stands twice, the same to the sample: one is read.")
            continue
        leads[lead] = channel
        if is_modified(name):
            said.append(f"{name} is a monitor's lead and stands for {lead}: its electrodes sit elsewhere.")
    if not any(lead in LEADS for lead in leads):
        names = some([*left_out, *leads]) or "none"
        raise NeedsAnswer(
            f"{path.name} holds no channel named as one of the twelve leads (found: {names}); "
            f"expected {', '.join(LEADS)}, or say them: leads=[...].",
            "leads", channels=len(channels),
        )  # fmt: skip
    return leads, left_out


def _same(one: Channel, other: Channel) -> bool:
    """Whether two channels hold the same values, at one rate and in one unit."""
    alike = (one.fs, one.unit) == (other.fs, other.unit)
    return alike and np.array_equal(one.samples, other.samples, equal_nan=True)


def _rate(path: Path, leads: dict[str, Channel], asked: Asked, said: list[str], guessed: list[str]) -> float:
    """Hz, of the file or asked for or guessed; leads beyond the twelve at another rate are taken out."""
    rates = {leads[lead].fs for lead in leads if lead in LEADS}
    if len(rates) > 1:
        stated = ", ".join(f"{lead} {leads[lead].fs:g} Hz" for lead in leads if leads[lead].fs)
        raise ECGError(
            f"leads of {path.name} differ in sampling rate ({stated}); all need one: export them alike."
        )
    rate = rates.pop()
    other = [lead for lead in leads if leads[lead].fs != rate]
    if other:  # one of V7-V9, X, Y, Z: shown, so that it may as well be missing
        said.append(f"Left out, since their sampling rate differs: {', '.join(other)}.")
        for lead in other:
            del leads[lead]
    n = max(channel.samples.size for channel in leads.values())
    if asked.fs is not None:
        if rate is not None and not math.isclose(asked.fs, rate, rel_tol=1e-6):
            said.append(f"The file says {rate:g} Hz; {asked.fs:g} Hz was asked for and is used.")
        return asked.fs
    if rate is not None and math.isfinite(rate):
        if not any(math.isclose(rate, usual, rel_tol=1e-3) for usual in _DEVICE_RATES):
            said.append(
                f"The file says {rate:g} Hz, at which hardly any device records. Intervals and heart rate "
                "are only as right as this number; if it is wrong, say the rate: read_ecg(path, fs=...)."
            )
        return rate
    guess = _guess_rate(path, n, len(leads))
    guessed.append("fs")
    said.append(
        f"The file names no sampling rate; {guess:g} Hz is a guess, since its {n:,} samples "
        f"would then last {n / guess:g} s, as a resting ECG does."
    )
    return guess


def _guess_rate(path: Path, n: int, channels: int) -> float:
    rate = n / RESTING_SECONDS
    if rate in _USUAL_RATES:
        return rate
    for rate in _RESTING_RATES:
        if RESTING_SECONDS < n / rate <= 1.1 * RESTING_SECONDS:
            return rate
    raise NeedsAnswer(
        f"{path.name} names no sampling rate, and {n:,} samples are not {RESTING_SECONDS:g} s "
        "at any usual one; say it: read_ecg(path, fs=...).",
        "fs", channels=channels,
    )  # fmt: skip


def _in_millivolt(
    leads: dict[str, Channel], bare: bool, asked: Asked, said: list[str], guessed: list[str]
) -> tuple[dict[str, NDArray[np.float32]], bool]:
    """Leads in mV, and whether that is known; those beyond the twelve without a voltage are taken out."""
    stated = {lead: millivolt(channel.unit) for lead, channel in leads.items()}
    if asked.unit:
        wanted = millivolt(asked.unit)
        units = sorted({leads[lead].unit for lead, factor in stated.items() if factor not in (None, wanted)})
        if units:
            said.append(f"The file says {' and '.join(units)}; {asked.unit} was asked for and is used.")
        stated = dict.fromkeys(leads, wanted)
    elif odd := sorted({channel.unit.strip() for channel in leads.values() if garbled(channel.unit)}):
        said.append(f"The unit {' and '.join(map(repr, odd))} is taken for µV, whose first sign was lost.")
    without = [lead for lead, factor in stated.items() if factor is None]
    known = not any(lead in LEADS for lead in without)
    if known and without:  # beyond the twelve: of no use beside leads in mV
        said.append(f"Left out, since their unit is no voltage: {', '.join(without)}.")
        for lead in without:
            del leads[lead]
    factor = 1.0
    if not known:
        units = sorted({leads[lead].unit for lead in without if lead in LEADS})
        named = " or ".join(repr(u[:20]) for u in units if u)
        none = "so that no voltage can be read from this record"
        guess = _guess_unit(leads) if bare and not named else None
        if guess:
            unit, reason = guess
            factor = millivolt(unit) or 1.0
            guessed.append("unit")
            said.append(
                f"The file names no unit; {unit} is a guess, since {reason}. Until the unit is said, no "
                "voltage is read from this record."
            )
        else:
            what = f"The file's unit, {named}, is not a voltage" if named else "The file names no unit"
            said.append(f"{what}, {none}.")
    with np.errstate(over="ignore"):  # no heart's value: infinite here, and absent in the record
        signals = {
            lead: (channel.samples * (stated[lead] or factor)).astype(np.float32)
            for lead, channel in leads.items()
        }
    return signals, known


def _guess_unit(leads: Mapping[str, Channel]) -> tuple[str, str] | None:
    """The unit in which the leads span what a heart's do, and the reason in words."""
    span = median_span(channel.samples for channel in leads.values())
    if not span:
        return None
    whole = all(np.array_equal(c.samples, np.round(c.samples), equal_nan=True) for c in leads.values())
    low, high = SPAN_MV
    for unit in ("uV", "mV", "V") if whole else ("mV", "uV", "V"):
        if low <= span * (millivolt(unit) or 1.0) <= high:
            kind = "whole numbers" if whole else "values"
            return unit, f"a lead's {kind} span about {span:,.4g}, and a heart's about 1 mV"
    return None


def _without_calibration(
    signals: dict[str, NDArray[Any]], fs: float
) -> tuple[dict[str, NDArray[Any]], float]:
    """Cut the 1 mV pulse that Philips appends: all leads alike, at 0 and 1 mV only, up to the end.

    Left in, it would be taken for a beat. Returns the leads and how many seconds were cut.
    """
    if len(signals) < 3 or len({s.size for s in signals.values()}) > 1:
        return signals, 0.0
    stack = np.stack(list(signals.values()))
    apart = np.flatnonzero((stack != stack[0]).any(axis=0))
    start = int(apart[-1]) + 1 if apart.size else 0
    tail = stack[0, start:]
    pulse = start > 0 and 0.2 * fs < tail.size < 2 * fs and set(np.round(tail, 2).tolist()) == {0.0, 1.0}
    if not pulse:
        return signals, 0.0
    return {lead: s[:start] for lead, s in signals.items()}, tail.size / fs


def _scaled_each_to_its_own(signals: Mapping[str, NDArray[Any]]) -> str:
    """How leads that were normalised one by one give themselves away, or "" (LUDB: each spans 1 "mV")."""
    finite = (s if (there := np.isfinite(s)).all() else s[there] for s in signals.values())
    moving = (s.astype(np.float64) for s in finite if s.size and np.ptp(s) > 0)
    first = list(islice(moving, 2))
    others: list[NDArray[np.float64]] = []
    for what, of in (("spans", np.ptp), ("has a standard deviation of", np.std)):
        two = [float(of(s)) for s in first]
        if len(two) < 2 or abs(two[0] - two[1]) > 2 * SAME_SPAN * max(two):
            continue  # as in nearly every record: the other leads need not be looked at
        others += moving
        values = np.array([of(s) for s in (*first, *others)])
        if len(values) >= 4 and np.ptp(values) <= SAME_SPAN * values.mean():
            return f"{what} {values.mean():.3g} mV exactly"
    return ""


def _implausible(ecg: ECG) -> list[str]:
    """What looks wrong with the values, in sentences."""
    said: list[str] = []
    names = np.array(LEADS)
    there = ecg.signal[ecg.present]
    if ecg.flat[ecg.present].all():
        said.append("Every lead is flat: the record holds no heart beat.")
        return said
    if ecg.flat.any():
        said.append(f"Flat, as when an electrode is off: {', '.join(names[ecg.flat])}.")
    gaps = np.isnan(there).mean(axis=1)
    if gaps.any():
        worst = int(gaps.argmax())
        said.append(
            f"Samples are absent in {', '.join(names[ecg.present][gaps > 0])} "
            f"(up to {100 * gaps[worst]:.2g} % of a lead)."
        )
    spans = np.fmax.reduce(there, axis=1) - np.fmin.reduce(there, axis=1)
    span = float(np.max(spans))
    if not ecg.units_known and span > OUT_OF_LINE * float(np.median(spans)) > 0:
        said.append(
            f"{names[ecg.present][spans.argmax()]} spans {span / float(np.median(spans)):,.3g} times what "
            "the other leads do: an artefact, or broken values."
        )
    if ecg.units_known:
        if span > HIGH_MV:  # else no sample is that far from the median, which costs the most to find
            highest = float(np.nanmax(np.abs(there - np.nanmedian(there, axis=1, keepdims=True))))
            if highest > HIGH_MV:
                said.append(
                    f"Deflections reach {highest:,.0f} mV, more than any heart's: an artefact, or a "
                    f"{WRONG_GAIN} (µV taken for mV?).{_thousand(spans, 1e-3, 'uV')}"
                )
        if span < LOW_MV:
            said.append(
                f"No lead spans more than {span:.2g} mV: a very low voltage, or a "
                f"{WRONG_GAIN}.{_thousand(spans, 1e3, 'V')}"
            )
    return said


def _thousand(spans: NDArray[np.float32], factor: float, unit: str) -> str:
    """What the leads would span in a unit a thousand times off, where that is what a heart's do."""
    span = float(np.median(spans)) * factor
    if not 0.3 <= span <= 5.0:
        return ""
    return f" Read as {unit}, a lead spans about {span:.2g} mV; to set it right: unit='{unit}'."


def cure(ecg: ECG) -> dict[str, Any]:
    """The options of `read_ecg` that would set right what a record's warnings say is wrong; {} if none."""
    found: dict[str, Any] = {}
    recorded = {
        lead: ecg.signal[row]
        for row, lead in enumerate(LEADS)
        if ecg.present[row] and lead not in ecg.derived
    }
    leads = limb_check(recorded)[1] if ecg.units_known or "unit" in ecg.guessed else {}
    if leads:
        found["leads"] = leads
    for unit in ("uV", "V"):
        if any(f"unit='{unit}'" in sentence for sentence in ecg.warnings):
            found["unit"] = unit
    return found
