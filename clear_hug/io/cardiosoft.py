"""CardioSoft and GE Sapphire XML, as UK Biobank's resting ECGs are; ecgdatakit refuses both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from clear_hug.ecg import ECGError
from clear_hug.io.recording import (
    Asked,
    Channel,
    Recording,
    filter_words,
    measured,
    read_bytes,
    sex_of,
    years,
)

_ROOT = "<CardiologyXML"
_MEASURED = {
    "heart_rate": "VentricularRate", "p_duration": "PDuration", "pr": "PQInterval", "qrs": "QRSDuration",
    "qt": "QTInterval", "qtc": "QTCInterval", "p_axis": "PAxis", "qrs_axis": "RAxis", "t_axis": "TAxis",
}  # fmt: skip


def is_cardiosoft(path: Path, head: bytes) -> bool:
    return any(_ROOT.encode(code) in head for code in ("utf-8", "utf-16-le", "utf-16-be"))


def read_cardiosoft(path: Path, asked: Asked) -> Recording:
    """The rhythm strip (StripData), not the averaged beat nor the filtered full disclosure."""
    from ecgdatakit.parsing.helpers.xml import parse_xml_root

    root = parse_xml_root(read_bytes(path, "text"))
    strip = root.find(".//StripData")
    if strip is None:
        raise ECGError(f"{path.name} is CardioSoft XML without a rhythm strip (StripData).")
    fs, step = strip.findtext("SampleRate"), strip.find("Resolution")
    known = step is not None and step.get("units") == "uVperLsb"
    factor = float(step.text or 1) if step is not None and known else 1.0
    channels = [
        Channel(
            wave.get("lead", ""),
            factor * np.array((wave.text or "").replace(",", " ").split(), dtype=np.float64),
            float(fs) if fs else None,
            "uV" if known else "",
        )
        for wave in strip.findall("WaveformData")
    ]
    age = root.find(".//PatientInfo/Age")
    old = age.text if age is not None and age.get("units") == "YEARS" else None
    found = root.find(".//RestingECGMeasurements")
    stored = {} if found is None else {name: found.findtext(tag) for name, tag in _MEASURED.items()}
    return Recording(
        "CardioSoft XML", channels, years(old), sex_of(root.findtext(".//PatientInfo/Gender")),
        stored=measured(**stored), device=(root.findtext(".//DeviceInfo/Desc") or "").strip()[:40],
        filters=_filters(root.find(".//FilterSetting")),
    )  # fmt: skip


def _filters(setting: Any) -> str:
    if setting is None:
        return ""
    try:
        low = float(setting.findtext("LowPass") or "")
    except ValueError:
        low = 0.0
    notch = next((hz for hz in (50.0, 60.0) if setting.findtext(f"Filter{hz:g}Hz") == "Yes"), None)
    return filter_words(None, low, notch)
