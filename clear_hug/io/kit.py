"""All that ecgdatakit reads: DICOM, HL7 aECG, GE MUSE, Philips, Mortara, SCP-ECG, EDF, ISHNE, MFER, Kardia.

Its samples were compared with the raw files for DICOM, EDF, GE MUSE, HL7 aECG, Philips Sierra and SCP-ECG;
the others rest on ecgdatakit's word.
"""

from __future__ import annotations

import re
import shutil
import struct
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from clear_hug.ecg import ECGError
from clear_hug.io.aecg import aecg_parser
from clear_hug.io.private import private_folder
from clear_hug.io.recording import (
    Asked,
    Channel,
    Reader,
    Recording,
    filter_words,
    measured,
    millivolt,
    plain,
    sex_of,
    some,
    within,
    years,
)
from clear_hug.leads import LEADS, canonical_lead

AVERAGED = ", without its averaged beats"  # beside the format of a file that holds them too
SHORTEST_RHYTHM = 2.0  # s; a DICOM group below this is an averaged beat, whatever its label says


@cache
def _parsers() -> dict[str, Any]:
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


def _parse(path: Path, parser: Any = None) -> tuple[Any, list[str]]:
    """A record of ecgdatakit, by a parser of its own or one given, and those of its warnings that are of use.

    The others may quote the file: pydicom's "Invalid value for VR PN" names the patient.
    """
    from ecgdatakit import FileParser

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        record = parser.parse(path) if parser else FileParser.parse(path)
    texts = dict.fromkeys(str(w.message) for w in caught)
    kept = [t for t in texts if _WORTH_SAYING.search(t) and not _UNSAID.search(t)]
    return record, [plain(t, path).replace(path.name, "the file") for t in kept]


def _recording(source: str, record: Any, channels: list[Channel], said: list[str]) -> Recording:
    device, filters = record.recording.device, record.recording.acquisition.filters
    notch = filters.notch if filters.notch_active is not False else None
    return Recording(
        source, channels, years(record.patient.age), sex_of(record.patient.sex), tuple(said),
        stored=_stored(record), device=_device(source, device),
        filters=filter_words(filters.highpass, filters.lowpass, notch),
        bare=source.startswith(("EDF", "DICOM", "GE MUSE")) and all(map(_is_scaled, record.leads)),
    )  # fmt: skip


def _device(source: str, device: Any) -> str:
    """Maker and model; formats whose field for them is free text may hold a name there, and are left out."""
    if source in ("EDF", "ISHNE"):
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


def _channels(record: Any) -> list[Channel]:
    return [_channel(lead, _exact_rate(record, lead)) for lead in record.leads]


def _channel(lead: Any, fs: float) -> Channel:
    """A lead by its physical scale, which stands in EDF and DICOM also where the unit alone is missing."""
    scale, zero = _scale(lead)
    samples = np.asarray(lead.samples)
    if lead.is_raw and (scale, zero) != (1.0, 0.0):
        samples = samples * scale + zero
    if lead.is_raw:
        return Channel(lead.label, samples, fs, lead.resolution_unit, scale, zero)
    # ecgdatakit has turned the samples into mV, and left the scale in the file's own unit
    factor = (millivolt(lead.resolution_unit) or 1.0) / (millivolt(lead.units) or 1.0)
    return Channel(lead.label, samples, fs, lead.units, scale * factor, zero * factor)


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
    if lead.units or lead.resolution_unit:
        return True
    about = lead.annotations
    if "physical_minimum" in about:  # EDF
        low, high = int(about["digital_minimum"]), int(about["digital_maximum"])
        return low < high and about["physical_minimum"] != about["physical_maximum"]
    return bool(lead.adc_resolution)


def _exact_rate(record: Any, lead: Any) -> float:
    """The sampling rate before ecgdatakit rounds it (EDF, aECG, DICOM, MFER and SCP-ECG tell)."""
    meta = record.raw_metadata
    interval = meta.get("rhythm_sample_interval_us")
    rates = [
        meta.get("exact_sampling_rates", {}).get(lead.label),
        meta.get("rhythm_time", {}).get("sampling_rate_exact"),
        1e6 / interval if interval else None,
        *meta.get("sampling_rates", []),
        *(group["sampling_frequency"] for group in meta.get("multiplex_groups", [])),
    ]
    near = [rate for rate in rates if rate and abs(rate - lead.sampling_rate) <= 0.5]
    return float(near[0] if near else lead.sampling_rate)


def _read(path: Path, source: str) -> Recording:
    record, said = _parse(path)
    return _recording(source, record, _channels(record), said)


def _read_muse(path: Path, source: str) -> Recording:
    """GE MUSE XML; the rate stands in up to three places, and they need not agree."""
    recording = _read(path, source)
    stated = re.findall(rb"<(?:ECG)?SampleBase>\s*(\d+)\s*<", path.read_bytes())
    rates = sorted({int(rate[:9]) for rate in stated})
    if len(rates) < 2 or not recording.channels:
        return recording
    said = (
        f"The file contradicts itself on the sampling rate ({' and '.join(map(str, rates))} Hz); "
        f"the waveform's own, {recording.channels[0].fs:g} Hz, is used."
    )
    return replace(recording, warnings=(*recording.warnings, said))


def _read_aecg(path: Path, source: str) -> Recording:
    record, said = _parse(path, aecg_parser())
    return _recording(source, record, _channels(record), said)


def _read_scp(path: Path, source: str) -> Recording:
    """SCP-ECG: each lead where it stands in time; ecgdatakit leaves its first sample beside it."""
    record, said = _parse(path)
    for lead in record.leads:  # the pulse of a lead is no lead
        lead.label = re.sub(r"^(.*)-cal$", r"calibration of \1", lead.label, flags=re.IGNORECASE)
    channels = _channels(record)
    starts = [int(lead.annotations.get("start_sample", 1)) for lead in record.leads]
    channels, apart = _in_time([(at - min(starts), [c]) for at, c in zip(starts, channels, strict=True)])
    return _recording(source, record, channels, said + apart)


def _in_time(parts: Sequence[tuple[int, list[Channel]]]) -> tuple[list[Channel], list[str]]:
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


def _read_ishne(path: Path, source: str) -> Recording:
    """ISHNE; ecgdatakit does not compare the length that the header promises with what is there."""
    record, said = _parse(path)
    for lead in record.leads:  # ecgdatakit's name for a code of no lead, which would be read as I, II or III
        lead.label = re.sub(r"^Lead (\d+)$", r"channel \1", lead.label)
    promised, there = (record.raw_metadata.get(key, 0) for key in ("ecg_size", "samples_per_lead"))
    if 0 < there < promised:
        said.append(f"The header promises {promised:,} samples a lead and {there:,} are there: cut short?")
    return _recording(source, record, _channels(record), said)


def _read_mfer(path: Path, source: str) -> Recording:
    """MFER; ecgdatakit passes over what the file says of channels that it does not count."""
    from ecgdatakit.parsing.parsers.mfer import MWF_ATT, _iter_tlv

    recording = _read(path, source)
    content = path.read_bytes()
    described = {channel for tag, channel, *_ in _iter_tlv(content, 0, len(content)) if tag == MWF_ATT}
    beyond = max(described, default=0) + 1
    if beyond <= len(recording.channels):
        return recording
    said = (
        f"The file describes a channel {beyond} and counts {len(recording.channels)}: leads and length may "
        "be wrong."
    )
    return replace(recording, warnings=(*recording.warnings, said))


# Bytes of a signal's fields in an EDF header, in their order, and what a number in them may look like.
_DECIMAL, _WHOLE = rb"[-+]?[\d.,]+(?:[eE][-+]?\d+)?", rb"[-+]?\d{1,5}"
_EDF_FIELDS = ((16, b""), (80, b""), (8, b""), (8, _DECIMAL), (8, _DECIMAL), (8, _WHOLE), (8, _WHOLE),
               (80, b""), (8, rb"\+?\d+"))  # fmt: skip


def edf_fields(head: bytes, signals: int) -> list[list[bytes]]:
    """What an EDF header says of its signals: (field, signal), from label to samples a data record."""
    fields, at = [], 256
    for size, _ in _EDF_FIELDS:
        fields.append([head[at + i * size : at + (i + 1) * size] for i in range(signals)])
        at += size * signals
    return fields


def _read_edf(path: Path, source: str) -> Recording:
    """EDF; ecgdatakit makes a number of a broken field where it can."""
    recording = _read(path, source)
    if any("gaps between data records" in sentence for sentence in recording.warnings):
        said = (
            "The recording was interrupted (EDF+D): what was not recorded is left out, and the RR interval "
            "across each pause is wrong."
        )
        rest = (sentence for sentence in recording.warnings if "gaps between data records" not in sentence)
        recording = replace(recording, warnings=(*rest, said))
    with path.open("rb") as file:
        fixed = file.read(256)
        signals = int(fixed[252:256].decode("ascii", errors="ignore").strip(" \0") or 0)
        fields = edf_fields(fixed + file.read(256 * signals), signals)
    for (_, number), rows in zip(_EDF_FIELDS, fields, strict=True):
        if number and not all(re.fullmatch(number, row.lstrip().rstrip(b" \t\r\n\0")) for row in rows):
            said = (
                "The header holds a number that is none by EDF's rules: the scale or the leads may be wrong."
            )
            return replace(recording, warnings=(*recording.warnings, said))
    return recording


def _read_dicom(path: Path, source: str) -> Recording:
    """DICOM waveform: the rhythm groups joined, each where it stands in time, averaged beats left out."""
    _within_when_inflated(path)
    if _class_of(path).startswith(_PRINT):
        raise ECGError(
            f"{path.name} is DICOM around a document (a PDF, say), a print of an ECG, which cannot be read; "
            "export the waveform itself."
        )
    record, said = _parse(path)
    groups = record.raw_metadata.get("multiplex_groups", [])
    seconds = [g["samples"] / g["sampling_frequency"] for g in groups]
    if len(groups) < 2 and (not seconds or seconds[0] >= SHORTEST_RHYTHM):
        return _recording(source, record, _channels(record), said)
    channels, said, averaged = _join_groups(path, said)
    # the device's own mean beats are no part of the record: told, and no warning
    return _recording(source + AVERAGED * averaged, record, channels, said)


_PRINT = "1.2.840.10008.5.1.4.1.1.104"  # classes of DICOM that carry a PDF or another document


def _read_any_dicom(path: Path, source: str) -> Recording:
    """DICOM with or without the preamble of 128 bytes and "DICM", which libraries know it by."""
    with path.open("rb") as file:
        if file.read(132)[128:] == b"DICM":
            return _read_dicom(path, source)
        with private_folder() as folder:
            file.seek(0)
            with (folder / path.name).open("wb") as whole:
                whole.write(bytes(128) + b"DICM")
                shutil.copyfileobj(file, whole)
            return _read_dicom(folder / path.name, source)


def _class_of(path: Path) -> str:
    """What kind of thing a DICOM file is, by its SOP class."""
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they may quote the file
        return str(pydicom.dcmread(path, specific_tags=["SOPClassUID"]).get("SOPClassUID", ""))


def _within_when_inflated(path: Path) -> None:
    """Refuse a deflated data set that is larger than what is read at once, before pydicom inflates it."""
    from pydicom.filereader import read_dataset
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    with path.open("rb") as file:
        file.seek(132 if file.read(132)[128:] == b"DICM" else 0)
        meta = read_dataset(
            file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group != 2
        )
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while content := inflate.unconsumed_tail or file.read(1 << 16):
            size += len(inflate.decompress(content, 1 << 20))
            within("unpacked", size, path.name)
            if inflate.eof:
                return


def _covers(at: int, lead: Any, other_at: int, other: Any) -> bool:
    """Whether a lead outlasts another of its name on both sides, as a strip below the twelve does."""
    end, other_end = at + len(lead.samples), other_at + len(other.samples)
    return at <= other_at and end >= other_end and len(lead.samples) > len(other.samples)


def _join_groups(path: Path, said: list[str]) -> tuple[list[Channel], list[str], bool]:
    """Channels of the rhythm groups, what is to be said, and whether averaged beats lie beside them."""
    import pydicom

    ds = pydicom.dcmread(path)
    parser = _parsers()["DICOM Waveform"]()
    little = parser._is_little_endian(ds)
    found = []
    for i, wave in enumerate(ds.WaveformSequence):
        if (group := parser._read_group(wave, i, little)) is not None:
            offset = float(wave.get("MultiplexGroupTimeOffset", "nan"))  # ms
            found.append(group | {"offset": offset if np.isfinite(offset) else None})
    length = [g["num_samples"] / g["sampling_frequency"] for g in found]
    longest = max(length)
    rhythm = [
        g for g, s in zip(found, length, strict=True)
        if s >= max(SHORTEST_RHYTHM, 0.5 * longest if g["offset"] is None else 0)
        and not (g["is_median"] and s < longest)
    ]  # fmt: skip
    if not rhythm:
        raise ECGError(
            f"{path.name} holds averaged beats alone (the longest group lasts {longest:.3g} s); "
            "no rhythm strip is in it."
        )
    base = max(rhythm, key=lambda g: sum(canonical_lead(lead.label) in LEADS for lead in g["leads"]))
    fs = base["sampling_frequency"]
    places: dict[str, list[tuple[int, Any]]] = {}  # lead -> its first sample and itself; "" for no leads
    for group in (base, *(g for g in rhythm if g is not base)):
        untold = None in (group["offset"], base["offset"])
        if group["sampling_frequency"] != fs or (untold and group["num_samples"] != base["num_samples"]):
            continue
        at = round(((base if untold else group)["offset"] or 0.0) / 1000 * fs)
        own: dict[str, list[tuple[int, Any]]] = {"": places.get("", [])}
        for lead in group["leads"]:
            name = canonical_lead(lead.label) or ""
            if all(_covers(at, lead, *other) for other in places.get(name, ()) if name):
                own.setdefault(name, []).append((at, lead))
        places |= own
    parts = [part for several in places.values() for part in several]
    taken = {id(lead) for _, lead in parts}
    joined = [g for g in found if any(id(lead) in taken for lead in g["leads"])]
    left = [g for g in found if not any(g is one for one in joined)]
    others = [
        g for g in left
        if not g["is_median"] and g["num_samples"] / g["sampling_frequency"] >= SHORTEST_RHYTHM
    ]  # fmt: skip
    said = [sentence for sentence in said if "multiplex group" not in sentence]
    first = min(at for at, _ in parts)
    channels, apart = _in_time([(at - first, [_channel(lead, fs)]) for at, lead in parts])
    said += apart
    if len(joined) > 1 and not apart:
        said.append(f"Leads of {len(joined)} waveform groups, which run side by side, are joined.")
    for group in others:
        names = some(lead.label for lead in group["leads"])
        seconds = group["num_samples"] / group["sampling_frequency"]
        said.append(
            f"One more waveform group is left out: {names}, {seconds:.3g} s at "
            f"{group['sampling_frequency']:g} Hz."
        )
    return channels, said, len(left) > len(others)


def _format(
    name: str,
    source: str,
    *extensions: str,
    read: Callable[[Path, str], Recording] = _read,
    limit: str = "bytes",
) -> Reader:
    """A format by ecgdatakit's name for it."""

    def recognise(path: Path, head: bytes) -> bool:
        return bool(_parsers()[name].can_parse(path, head))

    def checked(path: Path, asked: Asked) -> Recording:
        within(limit, path.stat().st_size, path.name)
        return read(path, source)

    return Reader(checked, extensions, recognise)


def _is_dicom(path: Path, head: bytes) -> bool:
    return head[128:132] == b"DICM" or _begins_as_dicom(head)


_CLASS = {2: 0x0002, 8: 0x0016}  # group -> its element that says which class of DICOM this is
_VR = b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OW PN SH SL SQ SS ST TM UC UI UL UN UR US UT".split()
_LONG_VR = (b"OB", b"OD", b"OF", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT")  # whose length takes 4 bytes


def _begins_as_dicom(head: bytes) -> bool:
    """Whether a file without preamble is DICOM: elements in order, little endian, up to its class.

    The first is of the meta group (2) or, where that is missing too, of group 8, which may leave out the VR.
    """
    at, last = 0, -1
    first = int.from_bytes(head[:2], "little")
    explicit = head[4:6] in _VR
    if first not in _CLASS or (first == 2 and not explicit):
        return False
    while at + 12 <= len(head):
        group, element, vr, size = struct.unpack_from("<HH2sH", head, at)
        if group != first or not last < element <= _CLASS[first] or (explicit and vr not in _VR):
            return False
        start = at + 8
        if not explicit:
            size = int.from_bytes(head[at + 4 : start], "little")
        elif vr in _LONG_VR:
            size, start = int.from_bytes(head[start : start + 4], "little"), start + 4
        if element == _CLASS[first]:
            return size <= 64 and head[start : start + size].startswith(b"1.2.840.10008.")
        at, last = start + size, element
    return False


KIT: Mapping[str, Reader] = {
    "DICOM waveform": replace(
        _format("DICOM Waveform", "DICOM waveform", ".dcm", ".dicom", read=_read_any_dicom),
        recognise=_is_dicom,
    ),
    "HL7 aECG": _format("HL7 aECG", "HL7 aECG", ".xml", read=_read_aecg, limit="text"),
    "GE MUSE XML": _format("GE MUSE XML", "GE MUSE XML", ".xml", read=_read_muse, limit="text"),
    "Philips Sierra XML": _format("Philips Sierra XML", "Philips Sierra XML", ".xml", limit="text"),
    "Mortara ELI XML": _format("Mortara ELI (EL250/ELI280)", "Mortara ELI XML", ".xml", limit="text"),
    "SCP-ECG": _format("SCP-ECG", "SCP-ECG", ".scp", read=_read_scp),
    "EDF": _format("EDF/EDF+", "EDF", ".edf", read=_read_edf),
    "ISHNE": _format("ISHNE Holter", "ISHNE", ".ecg", read=_read_ishne),
    "MFER": _format("MFER", "MFER", ".mwf", ".mfer", ".mfr", read=_read_mfer),
    "Kardia JSON": _format("AliveCor Kardia JSON", "Kardia JSON", ".json", limit="text"),
}
"""Format -> reader."""
