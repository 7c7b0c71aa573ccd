"""The way back: a record as WFDB, DICOM waveform or CSV, without a name or any other identifier.

Recorded leads alone are written; derived ones follow from them again when the file is read.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import ECG, ECGError
from clear_hug.io.private import private_folder
from clear_hug.leads import LEADS

_PER_MV = (
    1000.0,
    200.0,
    400.0,
    800.0,
    500.0,
    250.0,
    100.0,
    204.8,
    1000 / 4.88,
    1024.0,
    2000.0,
    10_000.0,
)  # counts a mV of the usual devices
_FINE_PER_MV = 1e6  # 1 nV a count, in 32 bits, where none of them holds the samples exactly
_EXACT = 2e-6  # mV; float32 of a few mV is no finer
_NO_SAMPLE = -32768
_MDC_CODES = {lead: f"2:{code}" for lead, code in zip(
    LEADS, (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8), strict=True)}  # fmt: skip
_TWELVE_LEAD, _GENERAL = "1.2.840.10008.5.1.4.1.1.9.1.1", "1.2.840.10008.5.1.4.1.1.9.1.2"
_TWELVE_LEAD_MOST = 16_384  # samples a group of a 12-lead ECG may hold


def _recorded(ecg: ECG) -> dict[str, NDArray[np.float64]]:
    leads = {
        lead: ecg.signal[row].astype(np.float64)
        for row, lead in enumerate(LEADS)
        if ecg.present[row] and lead not in ecg.derived
    }
    if not leads:
        raise ECGError("the record holds no recorded lead to write.")
    return leads


def _counts_per_mv(leads: dict[str, NDArray[np.float64]]) -> float | None:
    """The usual gain at which every sample is a whole number of 16 bits, or None."""
    values = np.concatenate([row[np.isfinite(row)] for row in leads.values()])
    for gain in _PER_MV:
        counts = np.round(values * gain)
        if np.abs(counts).max(initial=0) < 32_767 and np.abs(counts / gain - values).max(initial=0) < _EXACT:
            return gain
    return None


def to_wfdb(ecg: ECG, name: str = "record") -> dict[str, bytes]:
    """A header and its samples: 16 bits at a device's gain where that is exact, else 32 bits of 1 nV."""
    import wfdb

    leads = _recorded(ecg)
    gain = _counts_per_mv(leads)
    n = len(leads)
    notes = [] if ecg.age is None else [f"Age: {ecg.age:g}"]
    notes += [f"Sex: {ecg.sex}"] if ecg.sex else []
    with private_folder() as folder:
        wfdb.wrsamp(
            name, fs=ecg.fs, units=["mV" if ecg.units_known else "NU"] * n, sig_name=list(leads),
            p_signal=np.stack(list(leads.values()), axis=1), fmt=["16" if gain else "32"] * n,
            adc_gain=[gain or _FINE_PER_MV] * n, baseline=[0] * n, comments=notes, write_dir=str(folder),
        )  # fmt: skip
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def to_csv(ecg: ECG, name: str = "record") -> dict[str, bytes]:
    """A column a lead, in mV, each number as long as it takes to read the same one again."""
    leads = _recorded(ecg)
    unit = " (mV)" if ecg.units_known else ""
    out = io.StringIO()
    out.write(f"# sampling rate: {ecg.fs:.10g} Hz\n")
    out.write(",".join(f"{lead}{unit}" for lead in leads) + "\n")
    np.savetxt(out, np.stack(list(leads.values()), axis=1).astype(np.float32), fmt="%.9g", delimiter=",")
    return {f"{name}.csv": out.getvalue().encode()}


def to_dicom(ecg: ECG, name: str = "record") -> dict[str, bytes]:
    """A DICOM waveform of 16 bits; where no usual gain holds the samples, to 1/65,000 of a lead's span."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    if not ecg.units_known:
        raise ECGError(
            "the record's unit is unknown, and DICOM has no waveform without one; write WFDB or CSV."
        )
    leads = _recorded(ecg)
    gain = _counts_per_mv(leads)
    samples = np.full((ecg.n_samples, len(leads)), _NO_SAMPLE, "<i2")
    channels = []
    for i, (lead, row) in enumerate(leads.items()):
        here = np.isfinite(row)
        middle, step = 0.0, 1000.0 / gain if gain else 0.0  # uV
        if not step:
            middle = 500.0 * (row[here].max() + row[here].min())
            step = float(f"{max(1e-3, 1000.0 * np.ptp(row[here]) / 65_000):.10g}")
        samples[here, i] = np.round((1000.0 * row[here] - middle) / step)
        channels.append(_channel(lead, step, middle))
    group = pydicom.Dataset()
    group.WaveformOriginality, group.NumberOfWaveformChannels = "ORIGINAL", len(leads)
    group.NumberOfWaveformSamples, group.SamplingFrequency = ecg.n_samples, f"{ecg.fs:.10g}"
    group.MultiplexGroupLabel = "RHYTHM"
    group.ChannelDefinitionSequence = pydicom.Sequence(channels)
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.add_new(0x5400100A, "OW", np.array([_NO_SAMPLE], "<i2").tobytes())
    group.add_new(0x54001010, "OW", samples.tobytes())

    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    kind = pydicom.uid.UID(_TWELVE_LEAD if ecg.n_samples <= _TWELVE_LEAD_MOST else _GENERAL)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = kind
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = generate_uid(), generate_uid(), "ECG"
    ds.PatientName = ds.PatientID = ds.PatientBirthDate = ds.StudyID = ds.AccessionNumber = ""
    ds.PatientSex = ecg.sex or ""
    if ecg.age is not None:
        ds.PatientAge = f"{int(ecg.age):03d}Y"
    ds.SeriesNumber = ds.InstanceNumber = 1
    ds.Manufacturer = ""
    written = datetime.now(UTC)  # of this file: when the heart was recorded is not known here
    ds.ContentDate, ds.ContentTime = written.strftime("%Y%m%d"), written.strftime("%H%M%S")
    ds.AcquisitionContextSequence = pydicom.Sequence([])
    ds.WaveformSequence = pydicom.Sequence([group])
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return {f"{name}.dcm": out.getvalue()}


def _code(value: str, scheme: str, meaning: str) -> Any:
    import pydicom

    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _channel(lead: str, step: float, middle: float) -> Any:
    """One channel's definition: value = count * step + middle, in uV."""
    import pydicom

    channel = pydicom.Dataset()
    channel.ChannelSourceSequence = pydicom.Sequence([_code(_MDC_CODES[lead], "MDC", f"Lead {lead}")])
    channel.ChannelLabel = lead
    channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor = f"{step:.10g}", "1"
    channel.ChannelSensitivityUnitsSequence = pydicom.Sequence([_code("uV", "UCUM", "microvolt")])
    channel.ChannelBaseline, channel.ChannelSampleSkew = f"{middle:.10g}", "0"
    channel.WaveformBitsStored = 16
    return channel


WRITERS: dict[str, Callable[..., dict[str, bytes]]] = {"WFDB": to_wfdb, "DICOM": to_dicom, "CSV": to_csv}
"""Format -> (ecg, name) -> the record's files by name."""
