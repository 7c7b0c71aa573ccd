"""DICOM waveforms: groups of leads joined, each where it stands in time, with or without a preamble.

Samples, scales and what stands beside them come from ecgdatakit (`kit.py`), the groups from pydicom.
"""

from __future__ import annotations

import math
import shutil
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import ECGError
from clear_hug.io.kit import as_channel, as_channels, as_recording, as_stored, in_time, outlasts, parse
from clear_hug.io.private import private_folder
from clear_hug.io.recording import Asked, Channel, Recording, heard, some, within
from clear_hug.leads import LEADS, canonical_lead

SOURCE = "DICOM waveform"
AVERAGED = ", without its averaged beats"  # beside the format of a file that holds them too
PADDED_SECONDS = 1.0  # of one count, before a padding value that the lead reaches itself stands for none
SHORTEST_RHYTHM = 2.0  # s; a group below this is an averaged beat, whatever its label says


def _read(path: Path) -> Recording:
    """DICOM waveform: the rhythm groups joined, each where it stands in time, averaged beats left out."""
    _within_when_inflated(path)
    if _class_of(path).startswith(_PRINT):
        raise ECGError(
            f"{path.name} is DICOM around a document (a PDF, say), a print of an ECG, which cannot be read; "
            "export the waveform itself."
        )
    record, said = parse(path, _parser())
    waves = _waves(path)
    for wave in waves:
        _check_channels(path, wave, said)
    groups = record.raw_metadata.get("multiplex_groups", [])
    seconds = [g["samples"] / g["sampling_frequency"] for g in groups]
    if len(groups) < 2 and (not seconds or seconds[0] >= SHORTEST_RHYTHM):
        skews = _skews(waves[0], said) if waves else []
        parts = [(at, [c]) for at, c in zip(skews, as_channels(record), strict=True)]
        channels, apart = in_time([(at - min(skews), cs) for at, cs in parts])
        return as_recording(SOURCE, record, channels, said + apart)
    channels, said, averaged = _join_groups(path, said)
    # the device's own mean beats are no part of the record: told, and no warning
    return as_recording(SOURCE + AVERAGED * averaged, record, channels, said)


@cache
def _parser() -> Any:
    """The parser, but that a padding value which a lead reaches itself marks no single sample as absent."""
    from ecgdatakit.parsing.parsers.dicom_waveform import DICOMWaveformParser

    class Parser(DICOMWaveformParser):
        def _read_group(self, wave: Any, index: int, little_endian: bool) -> Any:
            group = super()._read_group(wave, index, little_endian)
            if group is None or wave.pop("WaveformPaddingValue", None) is None:
                return group
            whole: Any = super()._read_group(wave, index, little_endian)
            shortest = PADDED_SECONDS * group["sampling_frequency"]
            for lead, bare in zip(group["leads"], whole["leads"], strict=True):
                lead.samples = _padded(bare.samples, np.isnan(lead.samples), shortest)
            return group

    return Parser()


def _padded(samples: NDArray[np.float64], marked: NDArray[np.bool_], shortest: float) -> NDArray[np.float64]:
    """Samples with NaN for the padding value, where it lies beyond all others or fills a run of some length.

    Writers give 0 or 128 for it, which a lead reaches at every crossing.
    """
    others = samples[~marked]
    if not (marked.any() and others.size and others.min() <= samples[marked][0] <= others.max()):
        return np.where(marked, np.nan, samples)
    edges = np.flatnonzero(np.diff(np.pad(marked, 1).astype(np.int8)))
    absent = np.zeros(marked.shape, np.bool_)
    for start, stop in edges.reshape(-1, 2):
        absent[start:stop] = stop - start >= shortest
    return np.where(absent, np.nan, samples)


def _waves(path: Path) -> list[Any]:
    """The multiplex groups that hold samples."""
    import pydicom

    with heard():  # and not told: warnings may quote the file
        ds = pydicom.dcmread(path)
    return [w for w in ds.get("WaveformSequence") or () if w.get("WaveformData") is not None and _frames(w)]


def _frames(wave: Any) -> int:
    """Samples a group counts in all its channels."""
    return int(wave.get("NumberOfWaveformChannels") or 0) * int(wave.get("NumberOfWaveformSamples") or 0)


def _check_channels(path: Path, wave: Any, said: list[str]) -> None:
    """What a group says of its channels: as many as it counts, each by one name, and none out of order.

    Samples lie channel beside channel, so that one channel too few shifts every lead into the next.

    Raises
    ------
    ECGError : it describes another number of channels than it counts
    """
    channels = list(wave.get("ChannelDefinitionSequence") or ())
    counted = int(wave.NumberOfWaveformChannels)
    if channels and len(channels) != counted:
        raise ECGError(
            f"{path.name} describes {len(channels)} channels and counts {counted}: which sample is of which "
            "lead is not known. Export it again."
        )
    over = len(wave.WaveformData) - _frames(wave) * int(wave.get("WaveformBitsAllocated") or 8) // 8
    if over > 1:  # one byte fills up to an even number
        said.append(
            f"The file holds {over:,} bytes more than the samples it counts: they are left out. Is its "
            "header damaged?"
        )
    unlike: list[str] = []
    for channel in channels:
        lead, *others = _names(channel)
        unlike += [f"{lead} and {name}" for name in others if lead and name not in (None, lead)]
        status = [str(word).strip() for word in _several(channel.get("ChannelStatus"))]
        if lead and (odd := [word.lower()[:30] for word in status if word not in ("", "OK")]):
            said.append(f"The device calls lead {lead} {some(odd)}.")
    if unlike:
        said.append(
            f"The file gives a channel's lead in two ways that contradict each other ({some(unlike, 4)}); "
            "the first of each, by its code, is taken: leads may be misnamed."
        )


def _several(value: Any) -> list[Any]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _names(channel: Any) -> tuple[str | None, str | None, str | None]:
    """The lead of a channel by the code of its source, by that code's words, and by its label."""
    from ecgdatakit.parsing.parsers.dicom_waveform import _lead_from_code, _lead_from_meaning

    source = next(iter(channel.get("ChannelSourceSequence") or ()), None)
    code, scheme, words = (
        str(source.get(key) or "").strip() if source is not None else ""
        for key in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
    )
    found = (_lead_from_code(scheme, code), _lead_from_meaning(words), str(channel.get("ChannelLabel") or ""))
    by_code, by_words, by_label = (canonical_lead(name) if name else None for name in found)
    return by_code or by_words or by_label, by_words, by_label


def _skews(wave: Any, said: list[str]) -> list[int]:
    """By channel, how many samples after the group's own first one its first sample was taken."""
    fs, n = float(wave.SamplingFrequency), int(wave.NumberOfWaveformSamples)
    skews, told = [], len(said)
    for channel in wave.get("ChannelDefinitionSequence") or [{}] * int(wave.NumberOfWaveformChannels):
        by_sample, by_time, more = (
            _number(channel, key) for key in ("ChannelSampleSkew", "ChannelTimeSkew", "ChannelOffset")
        )
        # sample and time say the same in two units; the offset comes on top of either
        late = (by_sample or (by_time or 0.0) * fs) + (more or 0.0) * fs
        if None in (by_sample, by_time, more) and len(said) == told:
            said.append("What the file says of a channel's skew is no number: it is passed over.")
        if abs(late) >= n:
            said.append(
                "A channel begins later than it lasts, by what the file says of its skew: not applied."
            )
            late = 0.0
        skews.append(round(late))
    return skews


def _number(item: Any, key: str) -> float | None:
    """A number of a data set: 0 where it is missing or empty, None where it is none."""
    try:
        value = item.get(key)
        number = 0.0 if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


_PRINT = "1.2.840.10008.5.1.4.1.1.104"  # classes of DICOM that carry a PDF or another document


def read_dicom(path: Path, asked: Asked) -> Recording:
    """DICOM with or without the preamble of 128 bytes and "DICM", which libraries know it by."""
    within("bytes", path.stat().st_size, path.name)
    with path.open("rb") as file:
        if file.read(132)[128:] == b"DICM":
            return _read(path)
        with private_folder() as folder:
            file.seek(0)
            with (folder / path.name).open("wb") as whole:
                whole.write(bytes(128) + b"DICM")
                shutil.copyfileobj(file, whole)
            return _read(folder / path.name)


def _class_of(path: Path) -> str:
    """What kind of thing a DICOM file is, by its SOP class."""
    import pydicom

    with heard():  # and not told: warnings may quote the file
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


def _join_groups(path: Path, said: list[str]) -> tuple[list[Channel], list[str], bool]:
    """Channels of the rhythm groups, what is to be said, and whether averaged beats lie beside them."""
    import pydicom

    ds = pydicom.dcmread(path)
    parser = _parser()
    little = parser._is_little_endian(ds)
    found = []
    for i, wave in enumerate(ds.WaveformSequence):
        if (group := parser._read_group(wave, i, little)) is not None:
            untold = wave.get("MultiplexGroupTimeOffset") in (None, "")
            offset = None if untold else _number(wave, "MultiplexGroupTimeOffset")  # ms
            skews = dict(zip(map(id, group["leads"]), _skews(wave, said), strict=True))
            for lead, name in zip(group["leads"], as_stored([x.label for x in group["leads"]]), strict=True):
                lead.label = name
            found.append(group | {"offset": offset, "skews": skews})
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
            name, begins = canonical_lead(lead.label) or "", at + group["skews"][id(lead)]
            if all(outlasts(begins, lead, *other) for other in places.get(name, ()) if name):
                own.setdefault(name, []).append((begins, lead))
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
    channels, apart = in_time([(at - first, [as_channel(lead, fs)]) for at, lead in parts])
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


def is_dicom(path: Path, head: bytes) -> bool:
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
