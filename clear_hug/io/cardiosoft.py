"""GE's XML besides MUSE's: CardioSoft, as UK Biobank's resting ECGs are, and Sapphire, of MAC carts.

No real Sapphire file was at hand: its layout is what public readers of it agree on.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from clear_hug.ecg import ECGError
from clear_hug.io.markup import (
    NO_STEP,
    age_on,
    chosen,
    counts_in,
    is_rooted,
    miscounted,
    number_in,
    rate_in,
    step_in,
    tree_of,
)
from clear_hug.io.recording import Asked, Channel, Recording, filter_words, measured, sex_of, years
from clear_hug.leads import canonical_lead

_CARDIOSOFT, _SAPPHIRE = "CardiologyXML", "sapphire"
_MEASURED = {
    "heart_rate": "VentricularRate", "p_duration": "PDuration", "pr": "PQInterval", "qrs": "QRSDuration",
    "qt": "QTInterval", "qtc": "QTCInterval", "p_axis": "PAxis", "qrs_axis": "RAxis", "t_axis": "TAxis",
}  # fmt: skip
_GLOBAL = {
    "pr": ("PR_Interval",), "qrs": ("QRS_Duration",), "qt": ("QT_Interval",),
    "qtc": ("QT_Corrected", "qtcBazettCorrection"), "p_axis": ("P_Axis",), "qrs_axis": ("R_Axis",),
    "t_axis": ("T_Axis",),
}  # fmt: skip
_ABSENT = -32768  # Sapphire's count for a sample that was not taken


def is_cardiosoft(path: Path, head: bytes) -> bool:
    return is_rooted(head, _CARDIOSOFT)


def is_sapphire(path: Path, head: bytes) -> bool:
    return is_rooted(head, _SAPPHIRE)


def read_cardiosoft(path: Path, asked: Asked) -> Recording:
    """The rhythm strip (StripData), not the averaged beat nor the filtered full disclosure."""
    root = tree_of(path, _CARDIOSOFT)
    strips = [strip for strip in root.iter("StripData") if strip.find("WaveformData") is not None]
    if not strips:
        raise ECGError(f"{path.name} is CardioSoft XML without a rhythm strip (StripData).")
    strip, which = chosen(path, strips, asked)
    rate = strip.find("SampleRate")
    fs = None if rate is None else rate_in(path, rate.text, rate.get("units"), asked, "SampleRate")
    resolution = strip.find("Resolution")
    step = None if resolution is None else step_in(path, resolution.text, "Resolution")
    units = "" if step is None or resolution is None else resolution.get("units", "").strip()
    per_count = re.fullmatch(r"(.+?)\s*per\s*lsb", units, re.IGNORECASE)
    unit = per_count[1] if per_count else units
    channels = [
        Channel(
            wave.get("lead", ""),
            (step or 1.0) * counts_in(path, wave.text, wave.get("lead", ""), commas=True),
            fs,
            unit,
            step or 1.0,
        )
        for wave in strip.findall("WaveformData")
    ]
    total = strip.findtext("ChannelSampleCountTotal")
    said = which if step else [*which, NO_STEP]
    said += miscounted((channel.name, total, channel.samples.size) for channel in channels)
    age = root.find(".//PatientInfo/Age")
    old = age.text if age is not None and age.get("units") == "YEARS" else None
    found = root.find(".//RestingECGMeasurements")
    stored = {} if found is None else {name: found.findtext(tag) for name, tag in _MEASURED.items()}
    return Recording(
        "CardioSoft XML", channels, years(old), sex_of(root.findtext(".//PatientInfo/Gender")),
        tuple(said), stored=measured(**stored),
        device=(root.findtext(".//DeviceInfo/Desc") or "").strip()[:40],
        filters=_filters(root.find(".//FilterSetting")), records=len(strips),
    )  # fmt: skip


def _filters(setting: Any) -> str:
    if setting is None:
        return ""
    low = number_in(setting.findtext("LowPass"))
    notch = next((hz for hz in (50.0, 60.0) if setting.findtext(f"Filter{hz:g}Hz") == "Yes"), None)
    return filter_words(None, low, notch)


def read_sapphire(path: Path, asked: Asked) -> Recording:
    """The rhythm under ecg/wav; the averaged beats (medianTemplate) have the same elements elsewhere.

    Step (S) and unit (U) stand on all leads' element (dcar_1) or on each lead (sapphire_3).
    """
    root = tree_of(path, _SAPPHIRE)
    rhythms = root.findall(".//ecg/wav/ecgWaveformMXG")
    if not rhythms:
        raise ECGError(f"{path.name} is Sapphire XML without a rhythm (ecg/wav); export the whole ECG.")
    rhythm, said = chosen(path, rhythms, asked)
    rate = rhythm.find("sampleRate")
    fs = None if rate is None else rate_in(path, rate.get("V"), rate.get("U"), asked, "sampleRate")
    channels, sizes = [], []
    for wave in rhythm.findall("ecgWaveform"):
        lead, label = (wave.get(key, "").strip() for key in ("lead", "label"))
        name = lead or label
        if lead and 0 < len(label) < 6 and (canonical_lead(label) or label) != canonical_lead(lead):
            said.append(f"Lead {lead[:10]} bears the label {label}: its electrode may sit elsewhere.")
        counts = counts_in(path, wave.get("V"), name, commas=False)
        sizes.append((name, wave.get("asizeVT") or wave.get("asizeBT"), counts.size))
        step = step_in(path, wave.get("S", rhythm.get("S")), "S")
        unit = wave.get("U", rhythm.get("U", "")).strip() if step else ""
        samples = (step or 1.0) * np.where(counts == _ABSENT, np.nan, counts)
        channels.append(Channel(name, samples, fs, unit, step or 1.0))
        if not step:
            said.append(NO_STEP)
    return Recording(
        "GE Sapphire XML", channels, years(_age(root)), sex_of(_value(root, ".//patientInfo/gender")),
        (*dict.fromkeys(said), *miscounted(sizes)), stored=_sapphire_measured(root),
        device=(_value(root, ".//device/modelID") or "").strip()[:40],
        filters=filter_words(_hertz(rhythm.find("filters/highPass/frequency")),
                             _hertz(rhythm.find("filters/lowPass/frequency")), None),
        bare=NO_STEP not in said, records=len(rhythms),
    )  # fmt: skip


def _value(root: Any, where: str) -> str | None:
    found = root.find(where)
    value = None if found is None else found.get("V")
    return value if isinstance(value, str) else None


def _hertz(frequency: Any) -> float | None:
    if frequency is None or frequency.get("U", "Hz") != "Hz":
        return None
    return number_in(frequency.get("V"))


def _age(root: Any) -> str | int | None:
    """Years, as they stand there or from the birth date to the day of the ECG."""
    age = root.find(".//patientAge")
    in_years = age is not None and age.get("U", "").strip().lower() in ("", "a", "y", "yr", "year", "years")
    if in_years and years(told := _value(root, ".//patientAge")) is not None:
        return told
    return age_on(
        _value(root, ".//patientInfo/birthDateTime"), _value(root, ".//testInfo/acquisitionDateTime")
    )


def _sapphire_measured(root: Any) -> dict[str, float]:
    found = root.find(".//medianTemplate//global")
    values = {
        name: next((v for tag in tags if (v := _value(found, tag)) is not None), None)
        for name, tags in (_GLOBAL.items() if found is not None else ())
    }
    return measured(heart_rate=_value(root, ".//ventricularRate"), **values)
