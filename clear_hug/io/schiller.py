"""Schiller's XML, as SEMA writes it. No real file was at hand: its layout is what public readers agree on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
from clear_hug.io.recording import Asked, Channel, NeedsAnswer, Recording, measured, sex_of, some, years

_ROOT = "com.xiriuz.sema.xml.schillerEDI.SchillerEDI"
_RHYTHM = ("ECG_RHYTHMS", "ECG_RHYTHM")
_SEPARATED = ("", "COMMASEPARATE")  # how samples are written


def is_schiller(path: Path, head: bytes) -> bool:
    return is_rooted(head, _ROOT)


def read_schiller(path: Path, asked: Asked) -> Recording:
    """The rhythm (ECG_RHYTHMS); averaged beats (ECG_AVERAGES) are left out."""
    root = tree_of(path, _ROOT)
    waves = root.findall(".//eventdata/event/wavedata")
    rhythms = [wave for wave in waves if _text(wave, "type").upper() in _RHYTHM]
    if not rhythms:
        kinds = some(dict.fromkeys(_text(wave, "type")[:20] for wave in waves)) or "none"
        raise ECGError(f"{path.name} holds no rhythm strip (ECG_RHYTHMS; found: {kinds}).")
    rhythm, said = chosen(path, rhythms, asked)
    fs = _rate(path, rhythm, asked)
    step, unit = _step(path, rhythm)
    channels, sizes = [], []
    for channel in rhythm.findall("channel"):
        name, kind = _text(channel, "name"), _text(channel, "datastype")
        if kind.upper() not in _SEPARATED:
            raise ECGError(
                f"{path.name} holds lead {name[:20]} as {kind[:20]!r}; only COMMASEPARATE can be read. "
                "Export it as DICOM or SCP-ECG."
            )
        counts = counts_in(path, channel.findtext("data"), name, commas=True)
        claimed = _text(channel, "samplecount")
        if counts.size and number_in(claimed) == counts.size / 2:
            raise ECGError(
                f"{path.name} counts {claimed} samples of lead {name[:20]} and holds twice as many numbers: "
                "decimal commas cannot be told from those that part the samples. Export it with "
                "decimal points."
            )
        sizes.append((name, claimed, counts.size))
        channels.append(Channel(name, (step or 1.0) * counts, fs, unit, step or 1.0))
    if not step:
        said.append(NO_STEP)
    hardware = root.find(".//aquiringdevice/hardware")
    made = [] if hardware is None else [_text(hardware, key) for key in ("vendor", "model")]
    rates = [_text(one, "value") for one in root.iter("annotation_global") if _text(one, "name") == "HR"]
    return Recording(
        "Schiller XML", channels,
        years(age_on(_text(root, "patdata/birthdate"), _text(root, ".//startdatetime/date"))),
        sex_of(_text(root, "patdata/gender")), (*said, *miscounted(sizes)),
        stored=measured(heart_rate=rates[0] if rates else None),
        device=" ".join(dict.fromkeys(word for word in made if word))[:60],
        bare=step is not None, records=len(rhythms),
    )  # fmt: skip


def _text(node: Any, where: str) -> str:
    return str(node.findtext(where) or "").strip()


def _rate(path: Path, rhythm: Any, asked: Asked) -> float | None:
    exponent = _text(rhythm, "resolution/samplerate/exponent")
    if exponent and number_in(exponent) != 1:
        if asked.fs is None:
            raise NeedsAnswer(
                f"{path.name} gives its sampling rate an exponent of {exponent[:20]!r}, and only 1 is known; "
                "say the rate: read_ecg(path, fs=...).", "fs",
            )  # fmt: skip
        return None
    return rate_in(path, _text(rhythm, "resolution/samplerate/value"), "", asked, "its sampling rate")


def _step(path: Path, rhythm: Any) -> tuple[float | None, str]:
    """What one count is, or None where the file does not say, and its unit."""
    exponent = _text(rhythm, "resolution/yres/exponent")
    if exponent and number_in(exponent) != 1:
        raise ECGError(
            f"{path.name} gives what one count is (yres) an exponent of {exponent[:20]!r}, and only 1 is "
            "known; export it as DICOM or SCP-ECG."
        )
    step = step_in(path, _text(rhythm, "resolution/yres/unitperbit"), "unitperbit")
    return step, _text(rhythm, "resolution/yres/units") if step else ""
