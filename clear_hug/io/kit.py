"""What ecgdatakit reads: HL7 aECG, GE MUSE, Philips, Mortara, SCP-ECG, ISHNE, MFER, Kardia; DICOM and EDF.

The last two have rooms of their own (`dicom.py`, `edf.py`), which begin from what is shared here.

Its samples were compared with the raw files for DICOM, EDF, GE MUSE, HL7 aECG, Philips Sierra and SCP-ECG;
the others rest on ecgdatakit's word.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from clear_hug.ecg import ECGError
from clear_hug.io.aecg import aecg_parser
from clear_hug.io.jsons import begins_as_json
from clear_hug.io.limits import LIMITS
from clear_hug.io.markup import as_declared, marked, number_in, tree_of
from clear_hug.io.recording import (
    Asked,
    Channel,
    Reader,
    Recording,
    filter_words,
    heard,
    measured,
    millivolt,
    plain,
    sex_of,
    some,
    within,
    years,
)
from clear_hug.leads import canonical_lead

_OTHER_ZERO = "their zero may be another"
_PHILIPS_CHANNELS = 16  # for which its files may have room, of which those beyond the leads are empty


@cache
def parsers() -> dict[str, Any]:
    """By the name of a format, the parser of ecgdatakit."""
    from ecgdatakit import FileParser

    return {parser.FORMAT_NAME: parser for parser in FileParser().parsers}


_WORTH_SAYING = re.compile(
    r"checksum|CRC|experimental|truncated|gaps|missing samples?|scale|offset|rounded|not loaded|"
    r"only the first|default of|after the last|invalid range|size field|"
    r"waveform ignored|without a gap|are left out",
    re.IGNORECASE,
)
# What quotes the file, and what advises on ecgdatakit's own records: a missing unit is said in our words.
_UNSAID = re.compile(r"for VR|raw ADC samples|raw counts")


def parse(path: Path, parser: Any) -> tuple[Any, list[str]]:
    """A record of ecgdatakit, and those of its warnings that are of use.

    The others may quote the file: pydicom's "Invalid value for VR PN" names the patient.

    parser : one of `parsers`, whose samples come in mV where it knows how; or an object of our own
    """
    from ecgdatakit import FileParser

    with heard() as caught:
        if isinstance(parser, type):
            record = FileParser._auto_scale(FileParser._run_parser(parser, path))
        else:
            record = copy(parser).parse(path)  # it keeps what it warns of, and others may read meanwhile
    texts = dict.fromkeys(str(w.message) for w in caught)
    kept = [t for t in texts if _WORTH_SAYING.search(t) and not _UNSAID.search(t)]
    return record, [plain(t, path).replace(path.name, "the file") for t in kept]


def as_recording(source: str, record: Any, channels: list[Channel], said: list[str]) -> Recording:
    """What ecgdatakit says of a record, with its channels and sentences."""
    device, filters = record.recording.device, record.recording.acquisition.filters
    if nothing := [lead.label for lead in record.leads if _is_worth_nothing(lead)]:
        said = [*said, f"By the file one count of {some(nothing)} is worth 0: the values are counts."]
    notch = filters.notch if filters.notch_active is not False else None
    return Recording(
        source, channels, years(record.patient.age), sex_of(record.patient.sex), tuple(said),
        stored=_stored(record), device=_device(source, device),
        filters=filter_words(filters.highpass, filters.lowpass, notch),
        bare=source.startswith(("EDF", "BDF", "DICOM", "GE MUSE")) and all(map(_is_scaled, record.leads)),
    )  # fmt: skip


def _device(source: str, device: Any) -> str:
    """Maker and model; formats whose field for them is free text may hold a name there, and are left out."""
    if source in ("EDF", "BDF", "ISHNE"):
        return ""
    words = [str(w).strip() for w in (device.manufacturer, device.model) if w and str(w).strip()]
    return " ".join(dict.fromkeys(words))[:60]


_ALSO = {
    "heart_rate": ("Ventricular Heart Rate", "VentricularRate", "MDC_ECG_HEART_RATE"),
    "p_duration": ("P Duration", "PDuration", "MDC_ECG_TIME_PD_P", "pdur", "p_duration"),
    "qtc": ("QTc Interval", "QTCorrected", "MDC_ECG_TIME_PD_QTc", "qtc", "QTc"),
}  # under which names ecgdatakit leaves what it has no field for


def _stored(record: Any) -> dict[str, float]:
    """The device's own measurements, or what follows from the device's own onsets and offsets."""
    gm, beside = record.measurements, record.annotations

    def also(name: str) -> float | None:
        found = (re.match(r"\s*(-?\d+(?:\.\d+)?)", str(beside[key])) for key in _ALSO[name] if key in beside)
        return next((float(match[1]) for match in found if match), None)

    def between(start: str, end: str) -> float | None:
        try:
            return float(beside[f"median_{end}_ms"]) - float(beside[f"median_{start}_ms"])
        except (KeyError, ValueError):
            return None

    def first(*values: float | None) -> float | None:
        return next((value for value in values if value is not None), None)

    by_rr = round(60_000 / gm.rr_interval, 1) if gm.rr_interval else None
    return measured(
        heart_rate=first(also("heart_rate"), gm.heart_rate, by_rr),
        p_duration=first(also("p_duration"), between("p_onset", "p_offset")),
        pr=first(gm.pr_interval, between("p_onset", "qrs_onset")),
        qrs=first(gm.qrs_duration, between("qrs_onset", "qrs_offset")),
        qt=first(gm.qt_interval, between("qrs_onset", "t_offset")),
        qtc=first(also("qtc"), gm.qtc_bazett),
        p_axis=gm.p_axis, qrs_axis=gm.qrs_axis, t_axis=gm.t_axis,
    )  # fmt: skip


def as_channels(record: Any) -> list[Channel]:
    """The leads of a record, each at its exact rate and by its own name."""
    names = as_stored([lead.label for lead in record.leads])
    return [
        replace(as_channel(lead, _exact_rate(record, lead)), name=name)
        for lead, name in zip(record.leads, names, strict=True)
    ]


def as_stored(labels: Sequence[str]) -> list[str]:
    """Labels without the number that ecgdatakit puts behind a lead's second one.

    Left there, "D_2", a second of Nehb's D, reads as D2, which is II; and a second II would be said to have a
    name that is unknown. It counts from 2: where a "V_1" stands too, the file itself counts its leads so.
    """
    names: list[str] = []
    for label in labels:
        bare = re.sub(r"_\d+$", "", label)
        again = (
            bare in names and f"{bare}_1" not in labels and (canonical_lead(bare) or canonical_lead(label))
        )
        names.append(bare if again else label)
    return names


def as_channel(lead: Any, fs: float) -> Channel:
    """A lead by its physical scale, which stands in EDF and DICOM also where the unit alone is missing."""
    samples = np.asarray(lead.samples)
    if _is_worth_nothing(lead):
        return Channel(lead.label, samples, fs, f"0 {lead.resolution_unit}")
    scale, zero = _scale(lead)
    if lead.is_raw and (scale, zero) != (1.0, 0.0):
        samples = samples * scale + zero
    if lead.is_raw:
        return Channel(lead.label, samples, fs, lead.resolution_unit, scale, zero)
    # ecgdatakit has turned the samples into mV, and left the scale in the file's own unit
    factor = (millivolt(lead.resolution_unit) or 1.0) / (millivolt(lead.units) or 1.0)
    return Channel(lead.label, samples, fs, lead.units, scale * factor, zero * factor)


def _is_worth_nothing(lead: Any) -> bool:
    """Whether one count of a lead is 0 by the file, so that its unit is that of nothing."""
    return bool(lead.resolution_unit) and lead.resolution == 0


def _scale(lead: Any) -> tuple[float, float]:
    """Resolution and offset of a lead's counts; ecgdatakit leaves DICOM's out where the unit is missing."""
    if lead.resolution_unit or not lead.adc_resolution or lead.resolution != 1.0:
        return float(lead.resolution) or 1.0, float(lead.offset)
    factor, zero = (
        float(lead.annotations.get(key, default))
        for key, default in (("sensitivity_correction_factor", 1.0), ("channel_baseline", 0.0))
    )
    return lead.adc_resolution * factor or 1.0, float(lead.offset) or zero


def _is_scaled(lead: Any) -> bool:
    """Whether a lead's values are physical but for the unit's name, so that it can be guessed from them."""
    if _is_worth_nothing(lead):
        return False
    if lead.units or lead.resolution_unit:
        return True
    about = lead.annotations
    if "physical_minimum" in about:  # EDF
        low, high = int(about["digital_minimum"]), int(about["digital_maximum"])
        return low < high and about["physical_minimum"] != about["physical_maximum"]
    return bool(lead.adc_resolution)


def _exact_rate(record: Any, lead: Any) -> float:
    """The sampling rate before ecgdatakit rounds it (EDF, aECG, DICOM, MFER, SCP-ECG and Kardia tell)."""
    meta = record.raw_metadata
    interval = meta.get("rhythm_sample_interval_us")
    raw = meta.get("raw")  # of Kardia's two signals
    rates = [
        number_in(str(raw.get("frequency"))) if isinstance(raw, dict) else None,
        meta.get("exact_sampling_rates", {}).get(lead.label),
        meta.get("rhythm_time", {}).get("sampling_rate_exact"),
        1e6 / interval if interval else None,
        *meta.get("sampling_rates", []),
        *(group["sampling_frequency"] for group in meta.get("multiplex_groups", [])),
    ]
    near = [rate for rate in rates if rate and abs(rate - lead.sampling_rate) <= 0.5]
    return float(near[0] if near else lead.sampling_rate)


def _read(path: Path, source: str, parser: Any) -> Recording:
    record, said = parse(path, parser)
    return as_recording(source, record, as_channels(record), said)


def _read_muse(path: Path, source: str, parser: Any) -> Recording:
    """GE MUSE XML; the rate stands in up to three places, and they need not agree."""
    record, said = parse(path, parser)
    said = [sentence for sentence in said if "was not applied" not in sentence]  # said in our words
    recording = as_recording(source, record, as_channels(record), said + _muse_offsets(record))
    stated = re.findall(rb"<(?:ECG)?SampleBase>\s*(\d+)\s*<", path.read_bytes())
    rates = sorted({int(rate[:9]) for rate in stated})
    if len(rates) < 2 or not recording.channels:
        return recording
    twice = (
        f"The file contradicts itself on the sampling rate ({' and '.join(map(str, rates))} Hz); "
        f"the waveform's own, {recording.channels[0].fs:g} Hz, is used."
    )
    return replace(recording, warnings=(*recording.warnings, twice))


def _muse_offsets(record: Any) -> list[str]:
    """What MUSE says of a lead beside its samples: off, or at a time or a zero that nobody explains."""
    off = [lead.label for lead in record.leads if lead.annotations.get("LeadOff")]
    said = [f"The device calls the electrode of {', '.join(off)} off."] if off else []
    for tag, words in (
        ("LeadTimeOffset", "they may belong at another time"),
        ("FirstSampleBaseline", _OTHER_ZERO),
        ("LeadOffsetFirstSample", _OTHER_ZERO),
    ):
        if names := [lead.label for lead in record.leads if lead.annotations.get(tag)]:
            said.append(f"The file gives {', '.join(names)} a {tag}: it is not applied, and {words}.")
    return said


def _read_aecg(path: Path, source: str, parser: Any) -> Recording:
    """HL7 aECG: each lead where its set of sequences stands in time."""
    record, said = parse(path, aecg_parser())
    starts = [int(lead.annotations.get("first_sample", 0)) for lead in record.leads]
    channels, apart = in_time([(at, [c]) for at, c in zip(starts, as_channels(record), strict=True)])
    return as_recording(source, record, channels, said + apart)


def _read_scp(path: Path, source: str, parser: Any) -> Recording:
    """SCP-ECG: each lead where it stands in time; ecgdatakit leaves its first sample beside it.

    Raises
    ------
    ECGError : the rhythm is stored at another rate between beats (bimodal compression), or beside section 6
    """
    from ecgdatakit.exceptions import UnsupportedFormatError

    try:
        record, said = parse(path, parser)
    except UnsupportedFormatError as error:
        what = re.sub(r"^SCP-ECG: | is not supported$", "", str(error))
        raise ECGError(
            f"{path.name} is SCP-ECG with {what}, which is not read. Export it again without compression, or "
            "as DICOM, HL7 aECG or CSV."
        ) from None
    for lead in record.leads:  # the pulse of a lead is no lead
        lead.label = re.sub(r"^(.*)-cal$", r"calibration of \1", lead.label, flags=re.IGNORECASE)
    starts = [int(lead.annotations.get("start_sample", 1)) for lead in record.leads]
    parts, covered = _without_covered(list(zip(starts, as_channels(record), strict=True)))
    channels, apart = in_time([(at - min(starts), [c]) for at, c in parts])
    return as_recording(source, record, channels, said + covered + apart)


def _without_covered(parts: list[tuple[int, Channel]]) -> tuple[list[tuple[int, Channel]], list[str]]:
    """Leads (first sample, channel) without those that another of their name outlasts on both sides.

    So lies lead II in a column of a print, and whole in the strip below it. What is to be said comes beside.
    """
    kept: list[tuple[int, Channel]] = []
    said = []
    for i, (at, channel) in enumerate(parts):
        lead = canonical_lead(channel.name)
        others = [p for k, p in enumerate(parts) if k != i and lead and canonical_lead(p[1].name) == lead]
        if any(outlasts(*other, at, channel) for other in others):
            said.append(f"Lead {lead} stands twice: the longer, which covers the other, is read.")
        else:
            kept.append((at, channel))
    return kept, said


def outlasts(at: int, lead: Any, other_at: int, other: Any) -> bool:
    """Whether a lead that begins `at` a sample outlasts another on both sides, as a strip below twelve."""
    end, other_end = at + len(lead.samples), other_at + len(other.samples)
    return at <= other_at and end >= other_end and len(lead.samples) > len(other.samples)


def in_time(parts: Sequence[tuple[int, list[Channel]]]) -> tuple[list[Channel], list[str]]:
    """Channels on one axis of time, absent where they were not recorded, and a sentence where they differ.

    parts : (first sample, channels) of leads that were recorded at once
    """
    ends = [at + channel.samples.size for at, channels in parts for channel in channels]
    n = max(ends, default=0)
    if set(ends) <= {n} and {at for at, _ in parts} <= {0}:
        return [channel for _, channels in parts for channel in channels], []
    within("values", n * len(ends), "the file")
    placed = []
    for at, channels in parts:
        for channel in channels:
            samples = np.full(n, np.nan)
            samples[at : at + channel.samples.size] = channel.samples
            placed.append(replace(channel, samples=samples))
    return placed, [
        "Leads were recorded at different times: each stands at its own, and is absent elsewhere."
    ]


def _read_philips(path: Path, source: str, parser: Any) -> Recording:
    """Philips' XML; its leads lie end to end, so that another length than the stated one would shift all.

    Raises
    ------
    ECGError : the samples are not as many as the leads have by their length
    """
    from ecgdatakit.parsing.parsers import sierra_xml as sierra

    record, said = parse(path, parser)
    root = sierra._parse_xml(path.read_bytes())["restingecgdata"]
    found = sierra._get(root, "waveforms", "parsedwaveforms")
    waves = sierra._first(sierra.find_tag(root, "parsedwaveforms") if found is None else found)
    if not sierra._compression(waves):  # else each lead is a piece of its own
        text, n, leads = sierra._text(waves), record.leads[0].samples.size, len(record.leads)
        plain_text = sierra._attr(waves, "dataencoding") == "Plain"
        there = len(text.split()) if plain_text else len(b64decode(text)) // 2
        allocated = record.recording.acquisition.signal.number_channels_allocated or leads
        # fewer than one more for each channel only fill up
        if n not in (there // channels for channels in (leads, allocated, _PHILIPS_CHANNELS)):
            raise ECGError(
                f"{path.name} counts {n:,} samples in each of {leads} leads, and holds {there:,}: which are "
                "of which lead is not known. Export it again."
            )
    return as_recording(source, record, as_channels(record), said)


def _read_mortara(path: Path, source: str, parser: Any) -> Recording:
    """Mortara's XML, at the rates that ecgdatakit rounds, and what it says of a lead's zero in our words."""
    record, said = parse(path, parser)
    rates = [number_in(channel.get("SAMPLE_FREQ")) for channel in tree_of(path, "ECG").findall("CHANNEL")]
    channels = [replace(c, fs=rate or c.fs) for c, rate in zip(as_channels(record), rates, strict=True)]
    if offsets := record.raw_metadata.get("channel_offsets"):
        said = [sentence for sentence in said if "OFFSET" not in sentence]
        said.append(f"The file gives {some(offsets)} an OFFSET: it is not applied, and {_OTHER_ZERO}.")
    return as_recording(source, record, channels, said)


def _read_ishne(path: Path, source: str, parser: Any) -> Recording:
    """ISHNE; ecgdatakit does not compare the length that the header promises with what is there."""
    record, said = parse(path, parser)
    for lead in record.leads:  # ecgdatakit's name for a code of no lead, which would be read as I, II or III
        lead.label = re.sub(r"^Lead (\d+)$", r"channel \1", lead.label)
    promised, there = (record.raw_metadata.get(key, 0) for key in ("ecg_size", "samples_per_lead"))
    if 0 < there < promised:
        said.append(f"The header promises {promised:,} samples a lead and {there:,} are there: cut short?")
    return as_recording(source, record, as_channels(record), said)


def _read_mfer(path: Path, source: str, parser: Any) -> Recording:
    """MFER; ecgdatakit passes over what the file says of channels that it does not count."""
    from ecgdatakit.parsing.parsers.mfer import MWF_ATT, _iter_tlv

    record, said = parse(path, parser)
    skews = record.raw_metadata.get("sample_skew_ns", [])  # of the leads of which one is said
    skew = float(np.ptp([*skews, *[0] * (len(record.leads) - len(skews))] or [0])) / 1e9  # s
    if record.leads and skew * record.leads[0].sampling_rate >= 1:
        said.append(
            f"The file says that leads were sampled up to {1e3 * skew:.3g} ms apart: it is not applied."
        )
    recording = as_recording(source, record, as_channels(record), said)
    content = path.read_bytes()
    described = {channel for tag, channel, *_ in _iter_tlv(content, 0, len(content)) if tag == MWF_ATT}
    beyond = max(described, default=0) + 1
    if beyond <= len(recording.channels):
        return recording
    more = (
        f"The file describes a channel {beyond} and counts {len(recording.channels)}: leads and length may "
        "be wrong."
    )
    return replace(recording, warnings=(*recording.warnings, more))


def _read_kardia(path: Path, source: str, parser: Any) -> Recording:
    """Kardia's JSON, of which the length that it states is held against its samples and their rate."""
    record, said = parse(path, parser)
    channels = as_channels(record)
    stated = record.recording.duration
    longest = max((c.samples.size / (c.fs or 1) for c in channels), default=0.0)
    if stated and abs(longest - stated.total_seconds()) > 0.02 * longest + 1:
        said.append(
            f"The file says that it lasts {stated.total_seconds():.3g} s, and its samples last {longest:.3g} "
            "s by its rate: it was cut short, or the rate is wrong."
        )
    return as_recording(source, record, channels, said)


def _is_kardia(path: Path, head: bytes) -> bool:
    """By its names, in whatever order they stand: the samples may come before all that tells of them."""
    if parsers()["AliveCor Kardia JSON"].can_parse(path, head):
        return True
    if not begins_as_json(head, b"{") or path.stat().st_size > LIMITS["text"].most:
        return False
    content = path.read_bytes()
    return b'"recordedAt"' in content and (b'"amplitudeResolution"' in content or b'"data12L"' in content)


def _format(
    name: str,
    source: str,
    *extensions: str,
    read: Callable[[Path, str, Any], Recording] = _read,
    limit: str = "bytes",
) -> Reader:
    """A format by ecgdatakit's name for it."""
    xml = ".xml" in extensions

    def recognise(path: Path, head: bytes) -> bool:
        return bool(parsers()[name].can_parse(path, marked(head) if xml else head))

    def checked(path: Path, asked: Asked) -> Recording:
        within(limit, path.stat().st_size, path.name)
        with as_declared(path) if xml else nullcontext(path) as file:
            return read(file, source, parsers()[name])

    return Reader(checked, extensions, recognise)


KIT: Mapping[str, Reader] = {
    "HL7 aECG": _format("HL7 aECG", "HL7 aECG", ".xml", read=_read_aecg, limit="text"),
    "GE MUSE XML": _format("GE MUSE XML", "GE MUSE XML", ".xml", read=_read_muse, limit="text"),
    "Philips Sierra XML": _format(
        "Philips Sierra XML", "Philips Sierra XML", ".xml", read=_read_philips, limit="text"
    ),
    "Mortara ELI XML": _format(
        "Mortara ELI (EL250/ELI280)", "Mortara ELI XML", ".xml", read=_read_mortara, limit="text"
    ),
    "SCP-ECG": _format("SCP-ECG", "SCP-ECG", ".scp", read=_read_scp),
    "ISHNE": _format("ISHNE Holter", "ISHNE", ".ecg", read=_read_ishne),
    "MFER": _format("MFER", "MFER", ".mwf", ".mfer", ".mfr", read=_read_mfer),
    "Kardia JSON": replace(
        _format("AliveCor Kardia JSON", "Kardia JSON", ".json", read=_read_kardia, limit="text"),
        recognise=_is_kardia,
    ),
}
"""Format -> reader."""
