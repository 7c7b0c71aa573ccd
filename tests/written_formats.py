"""Files of formats of which no real one is at hand, or many are wanted: written from an ECG in mV."""

from __future__ import annotations

import base64
import binascii
import copy
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from clear_hug.leads import LEADS

JANE = {"name": "Jane", "family": "Doerrenbach", "id": "MRN4711", "born": "19500203", "place": "St. Planted"}
"""Identifiers that are planted; none may come out."""


def ishne(path: Path, mv: np.ndarray, fs: float) -> Path:
    """Holter: int16 of 1 µV, leads side by side."""
    head = bytearray(522)
    head[:8] = b"ISHNE1.0"
    struct.pack_into("<iiii", head, 10, 0, mv.shape[1], 522, 522)
    for at, size, text in ((28, 40, JANE["name"]), (68, 40, JANE["family"]), (108, 20, JANE["id"])):
        head[at : at + size] = text.encode().ljust(size, b"\0")
    struct.pack_into("<h", head, 128, 2)
    struct.pack_into("<hhh", head, 132, 3, 2, 1950)
    struct.pack_into("<hhh", head, 138, 3, 2, 2020)
    struct.pack_into("<h", head, 156, len(mv))
    struct.pack_into("<12h", head, 158, *range(5, 17))
    struct.pack_into("<12h", head, 206, *[1000] * 12)
    struct.pack_into("<h", head, 272, int(fs))
    struct.pack_into("<H", head, 8, binascii.crc_hqx(bytes(head[10:]), 0xFFFF))
    path.write_bytes(bytes(head) + np.round(mv.T * 1000).astype("<i2").tobytes())
    return path


def mfer(path: Path, mv: np.ndarray, fs: float) -> Path:
    codes = [1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8]

    def tlv(tag: int, value: bytes) -> bytes:
        length = bytes([len(value)]) if len(value) < 128 else b"\x84" + len(value).to_bytes(4, "big")
        return bytes([tag]) + length + value

    body = tlv(0x40, b"MFR ".ljust(32)) + tlv(0x01, b"\x01") + tlv(0x81, JANE["family"].encode())
    body += tlv(0x0B, b"\x00\x00" + int(fs).to_bytes(2, "little")) + tlv(0x0C, b"\x00\xfa" + b"\x01\x00")
    body += tlv(0x0A, b"\x00") + tlv(0x04, mv.shape[1].to_bytes(4, "little")) + tlv(0x05, bytes([len(mv)]))
    body += tlv(0x06, b"\x01")
    for channel, code in enumerate(codes[: len(mv)]):
        inner = tlv(0x09, code.to_bytes(2, "little"))
        body += bytes([0x3F, channel, len(inner)]) + inner
    path.write_bytes(body + tlv(0x1E, np.round(mv * 1000).astype("<i2").tobytes()) + bytes([0x80, 0]))
    return path


def kardia(path: Path, mv: np.ndarray, fs: float) -> Path:
    names = ("leadI", "leadII", "leadIII", "AVR", "AVL", "AVF")
    samples = {name: np.round(row * 1000).astype(int).tolist() for name, row in zip(names, mv, strict=False)}
    raw = {"frequency": fs, "amplitudeResolution": 1000, "numLeads": 6, "samples": samples}
    doc = {"id": "x", "recordedAt": "2020-01-01T10:00:00Z", "heartRate": 72, "patientID": JANE["id"],
           "note": f"{JANE['name']} {JANE['family']}", "data": {"raw": raw}}  # fmt: skip
    path.write_text(json.dumps(doc))
    return path


def coded(lead: str, first: int = 131_328) -> dict[str, Any]:
    """A lead by its number of ISO/IEEE 11073-10101, counted from `first`."""
    number = {"III": 61, "aVR": 62, "aVL": 63, "aVF": 64}.get(lead) or ["I", "II", *LEADS[6:]].index(lead) + 1
    return {"coding": [{"system": "urn:oid:2.16.840.1.113883.6.24", "code": str(first + number)}]}


def sampled(microvolt: Any, fs: float, **changed: Any) -> dict[str, Any]:
    """FHIR's SampledData of whole microvolt."""
    given = {"origin": {"value": 0, "unit": "uV"}, "period": 1000 / fs, "factor": 1, "dimensions": 1}
    return {**given, "data": " ".join(map(str, microvolt)), **changed}


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "entry": [{"resource": one} for one in resources]}


def fhir(path: Path, mv: np.ndarray, fs: float) -> Path:
    """A bundle of the patient and an observation with a component a lead."""
    name = [{"given": [JANE["name"]], "family": JANE["family"]}]
    patient = {"resourceType": "Patient", "id": JANE["id"], "name": name, "gender": "female"}
    parts = [
        {"code": coded(lead), "valueSampledData": sampled(row, fs)}
        for lead, row in zip(LEADS, np.round(mv * 1000).astype(int), strict=True)
    ]
    observation = {
        "resourceType": "Observation",
        "effectiveDateTime": "2015-02-19T09:30:35+01:00",
        "subject": {"reference": f"Patient/{JANE['id']}", "display": JANE["name"]},
        "performer": [{"display": JANE["place"]}],
        "component": parts,
    }
    path.write_text(json.dumps(bundle(patient, observation)))
    return path


def by_name(path: Path, mv: np.ndarray, fs: float) -> Path:
    """JSON of an app: leads by their names."""
    leads = dict(zip(LEADS, np.round(mv, 4).tolist(), strict=True))
    said = {"patient": f"{JANE['name']} {JANE['family']}", "id": JANE["id"], "clinic": JANE["place"]}
    path.write_text(json.dumps({**said, "fs": fs, "unit": "mV", "leads": leads}))
    return path


def mortara(path: Path, mv: np.ndarray, fs: float) -> Path:
    channels = "".join(
        f'<CHANNEL NAME="{lead}" SAMPLE_FREQ="{fs:g}" UNITS_PER_MV="1000" DURATION="{mv.shape[1]}" '
        f'OFFSET="0" BITS="16" FORMAT="SIGNED" ENCODING="BASE64" '
        f'DATA="{base64.b64encode(np.round(row * 1000).astype("<i2").tobytes()).decode()}"/>'
        for lead, row in zip(LEADS, mv, strict=True)
    )
    path.write_text(
        '<?xml version="1.0"?><ECG ACQUISITION_TIME="20200101100000" VENT_RATE="72">'
        f'<SOURCE TYPE="ELI280" MANUFACTURER="Mortara"/><SITE FACILITY_NAME="{JANE["place"]}"/>'
        f'<SUBJECT LAST_NAME="{JANE["family"]}" FIRST_NAME="{JANE["name"]}" ID="{JANE["id"]}" AGE="70" '
        f'AGE_UNITS="YEARS" GENDER="FEMALE" DOB="{JANE["born"]}"/>{channels}</ECG>'
    )
    return path


def philips(path: Path, mv: np.ndarray, fs: float) -> Path:
    """Philips' Sierra 1.04, not compressed: 2.5 µV a count, lead after lead."""
    counts = np.round(mv * 400).astype("<i2")
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><restingecgdata xmlns="http://www3.medical.philips.com">'
        "<documentinfo><documenttype>PhilipsECG</documenttype><documentversion>1.04</documentversion>"
        '</documentinfo><dataacquisition date="2020-01-01" time="10:00:00"><acquirer><institutionname>'
        f"{JANE['place']}</institutionname></acquirer><signalcharacteristics><samplingrate>{fs:g}</samplingrate>"
        "<resolution>2.5</resolution><numberchannelsallocated>12</numberchannelsallocated></signalcharacteristics>"
        f"</dataacquisition><patient><generalpatientdata><patientid>{JANE['id']}</patientid><name><lastname>"
        f"{JANE['family']}</lastname><firstname>{JANE['name']}</firstname></name><age><years>70</years></age>"
        '<sex>Female</sex></generalpatientdata></patient><waveforms><parsedwaveforms dataencoding="Base64" '
        f'durationperchannel="{1000 * mv.shape[1] / fs:g}" numberofleads="12" leadlabels="{" ".join(LEADS)}">'
        f"{base64.b64encode(counts.tobytes()).decode()}</parsedwaveforms></waveforms></restingecgdata>"
    )
    return path


def aecg(path: Path, mv: np.ndarray, fs: float) -> Path:
    def sequence(lead: str, row: np.ndarray) -> str:
        digits = " ".join(map(str, np.round(row * 1000).astype(int)))
        return (
            f'<component><sequence><code code="MDC_ECG_LEAD_{lead.upper()}"/><value xsi:type="SLIST_PQ">'
            f'<origin value="0" unit="uV"/><scale value="1" unit="uV"/><digits>{digits}</digits>'
            "</value></sequence></component>"
        )

    leads = "".join(sequence(lead, row) for lead, row in zip(LEADS, mv, strict=True))
    path.write_text(
        '<?xml version="1.0"?><AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><componentOf><timepointEvent><componentOf>'
        f'<subjectAssignment><subject><trialSubject><id extension="{JANE["id"]}"/>'
        "<subjectDemographicPerson><name>"
        f'{JANE["name"]} {JANE["family"]}</name><birthTime value="{JANE["born"]}"/>'
        "</subjectDemographicPerson>"
        "</trialSubject></subject></subjectAssignment></componentOf></timepointEvent></componentOf>"
        '<component><series><code code="RHYTHM"/><component><sequenceSet><component><sequence>'
        '<code code="TIME_RELATIVE"/><value xsi:type="GLIST_PQ"><head value="0" unit="s"/>'
        f'<increment value="{1 / fs}" unit="s"/></value></sequence></component>{leads}'
        "</sequenceSet></component></series></component></AnnotatedECG>"
    )
    return path


def muse(path: Path, mv: np.ndarray, fs: float) -> Path:
    """Eight leads of rhythm, 4.88 µV a count, and an averaged beat that is not the record."""

    def waveform(kind: str, rows: np.ndarray) -> str:
        leads = "".join(
            f"<LeadData><LeadID>{name}</LeadID><LeadAmplitudeUnitsPerBit>4.88</LeadAmplitudeUnitsPerBit>"
            "<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadSampleSize>2</LeadSampleSize>"
            f"<WaveFormData>{base64.b64encode(np.round(row / 4.88e-3).astype('<i2').tobytes()).decode()}"
            "</WaveFormData></LeadData>"
            for name, row in zip(("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"), rows, strict=True)
        )
        return (
            f"<Waveform><WaveformType>{kind}</WaveformType><SampleBase>{fs:g}</SampleBase>"
            f"<SampleExponent>0</SampleExponent>{leads}</Waveform>"
        )

    eight = mv[[0, 1, *range(6, 12)]]
    path.write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?><!DOCTYPE RestingECG SYSTEM "restecg.dtd"><RestingECG>'
        f"<PatientDemographics><PatientID>{JANE['id']}</PatientID><PatientLastName>{JANE['family']}"
        f"</PatientLastName><PatientFirstName>{JANE['name']}</PatientFirstName><PatientAge>70</PatientAge>"
        "<Gender>FEMALE</Gender></PatientDemographics><TestDemographics><SiteName>"
        f"{JANE['place']}</SiteName></TestDemographics>"
        "<RestingECGMeasurements><VentricularRate>72</VentricularRate><PRInterval>160</PRInterval>"
        "<QRSDuration>90</QRSDuration><QTInterval>400</QTInterval><QTCorrected>430</QTCorrected><PAxis>40</PAxis>"
        "<RAxis>-20</RAxis><TAxis>30</TAxis></RestingECGMeasurements>"
        f"{waveform('Median', 2 * eight[:, : int(fs)])}{waveform('Rhythm', eight)}</RestingECG>"
    )
    return path


def sapphire(path: Path, mv: np.ndarray, fs: float, third: bool = False) -> Path:
    """GE's Sapphire, dcar_1 or (`third`) sapphire_3: 4.88 µV a count; averaged beats before the rhythm."""
    of_all, of_each = (' S="4.88" U="uV"', "")[:: -1 if third else 1]
    size = "asizeBT" if third else "asizeVT"

    def leads(rows: np.ndarray) -> str:
        return f'<ecgWaveformMXG{of_all}><sampleRate V="{fs:g}" U="Hz"/>' + "".join(
            f'<ecgWaveform lead="{lead.upper()}"{of_each} {size}="{rows.shape[1]}" INV="-32768" '
            f'V="{" ".join(map(str, np.round(row / 4.88e-3).astype(int)))}"/>'
            for lead, row in zip(LEADS, rows, strict=True)
        ) + "</ecgWaveformMXG>"  # fmt: skip

    measured = (
        '<global><PR_Interval V="160" U="ms"/><QRS_Duration V="90" U="ms"/><QT_Interval V="400" U="ms"/>'
        '<QT_Corrected V="430" U="ms"/><P_Axis V="-32768"/><R_Axis V="-20"/><T_Axis V="30"/></global>'
    )
    who = (
        f'<patientInfo><identifier><id V="{JANE["id"]}"/></identifier><name><given V="{JANE["name"]}"/>'
        f'<family V="{JANE["family"]}"/></name><birthDateTime V="1950-02-03T00:00:00"/><gender V="FEMALE"/>'
    )
    made = '<testInfo><acquisitionDateTime V="2020-01-01T10:00:00"/></testInfo><device><modelID V="MAC2000"/>'
    made += f'<deviceName V="{JANE["place"]}"/></device>'
    ecg = (
        '<params><ecg><num><ventricularRate V="72" U="bpm"/></num><var><medianTemplate>'
        f"<measurements>{measured}</measurements>{leads(2 * mv[:, : int(fs)])}</medianTemplate></var>"
        f"<wav>{leads(mv)}</wav></ecg></params>"
    )
    if third:
        inside = (
            f"<demographics>{who}</patientInfo>{made}</demographics><xmlData><block>{ecg}</block></xmlData>"
        )
    else:
        inside = f"<dcarRecord>{who}<visit><order>{made}<ecgResting>{ecg}</ecgResting></order></visit>"
        inside += "</patientInfo></dcarRecord>"
    space = "sapphire_3" if third else "dcar_1"
    path.write_text(
        f'<?xml version="1.0" encoding="UTF-8"?><sapphire xmlns="urn:ge:sapphire:{space}">{inside}</sapphire>'
    )
    return path


def schiller(path: Path, mv: np.ndarray, fs: float) -> Path:
    """Schiller's SEMA: 1 µV a count, and averaged beats before the rhythm."""

    def wave(kind: str, rows: np.ndarray) -> str:
        channels = "".join(
            f"<channel><name>{lead}</name><datastype>COMMASEPARATE</datastype><samplecount>{row.size}"
            f"</samplecount><data>{','.join(map(str, np.round(row * 1000).astype(int)))},</data></channel>"
            for lead, row in zip(LEADS, rows, strict=True)
        )
        return (
            f"<wavedata><type>{kind}</type><resolution><samplerate><exponent>1</exponent><value>{fs:g}</value>"
            "</samplerate><yres><unitperbit>1.0</unitperbit><units>uV</units></yres></resolution>"
            f"{channels}</wavedata>"
        )

    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><com.xiriuz.sema.xml.schillerEDI.SchillerEDI><patdata>'
        f"<id>{JANE['id']}</id><lastname>{JANE['family']}</lastname><firstname>{JANE['name']}</firstname>"
        f"<birthdate>{JANE['born']}</birthdate><gender>FEMALE</gender></patdata><examdescript><startdatetime>"
        "<date>20200101</date><time>100000</time></startdatetime><aquiringdevice><hardware>"
        "<vendor>SCHILLER</vendor><model>AT-102</model></hardware></aquiringdevice><aquiring_institute><name>"
        f"{JANE['place']}</name></aquiring_institute></examdescript><eventdata><event><annotation_global>"
        f"<name>HR</name><value>72</value></annotation_global>{wave('ECG_AVERAGES', 2 * mv[:, : int(fs)])}"
        f"{wave('ECG_RHYTHMS', mv)}</event></eventdata></com.xiriuz.sema.xml.schillerEDI.SchillerEDI>"
    )
    return path


def edf(path: Path, mv: np.ndarray, fs: float) -> Path:
    """EDF+ with an annotations channel and a respiration beside the leads, at another rate."""
    seconds = int(mv.shape[1] // fs)
    n = int(fs)
    labels = [*(f"ECG {lead}" for lead in LEADS), "Resp", "EDF Annotations"]
    sizes = [n] * 12 + [25, 20]

    def field(width: int, *values: object) -> str:
        return "".join(str(v)[:width].ljust(width) for v in values)

    units = ["uV"] * 12 + ["l", ""]
    head = field(8, 0) + field(80, f"{JANE['id']} F 03-FEB-1950 {JANE['name']}_{JANE['family']}")
    head += field(80, f"Startdate 01-JAN-2020 {JANE['place']} X X") + field(8, "01.01.20", "10.00.00")
    head += field(8, 256 * 15) + field(44, "EDF+C") + field(8, seconds, 1) + field(4, 14)
    head += field(16, *labels) + field(80, *[""] * 14) + field(8, *units)
    head += field(8, *[-32768] * 14, *[32767] * 14, *[-32768] * 14, *[32767] * 14) + field(80, *[""] * 14)
    head += field(8, *sizes) + field(32, *[""] * 14)
    counts = np.round(mv * 1000).astype("<i2")
    body = b""
    for second in range(seconds):
        body += counts[:, second * n : (second + 1) * n].tobytes() + bytes(50)
        body += f"+{second}\x14\x14\0".encode().ljust(40, b"\0")
    path.write_bytes(head.encode() + body)
    return path


def dicom(path: Path, mv: np.ndarray, fs: float, split: bool = False) -> Path:
    """Twelve leads in one group, or limb and chest leads in two; an averaged beat stands before them."""
    import pydicom
    from pydicom.data import get_testdata_file
    from pydicom.sequence import Sequence

    ds = pydicom.dcmread(str(get_testdata_file("waveform_ecg.dcm", download=False)))
    ds.PatientName, ds.PatientID, ds.InstitutionName = (
        f"{JANE['family']}^{JANE['name']}",
        JANE["id"],
        JANE["place"],
    )
    ds.PatientBirthDate = JANE["born"]
    whole = ds.WaveformSequence[0]
    names = [c.ChannelSourceSequence[0].CodeMeaning.removeprefix("Lead").split("(")[0].strip() for c in
             whole.ChannelDefinitionSequence]  # fmt: skip
    order = [next(i for i, lead in enumerate(LEADS) if lead.lower() == name.lower()) for name in names]

    def group(rows: list[int], signal: np.ndarray, label: str) -> pydicom.Dataset:
        part = copy.deepcopy(whole)
        definitions = []
        for row in rows:
            channel = copy.deepcopy(whole.ChannelDefinitionSequence[row])
            channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor = 2.5, 1
            channel.ChannelBaseline = 0
            definitions.append(channel)
        part.ChannelDefinitionSequence = Sequence(definitions)
        part.NumberOfWaveformChannels, part.NumberOfWaveformSamples = len(rows), signal.shape[1]
        part.SamplingFrequency, part.MultiplexGroupLabel = fs, label
        counts = np.round(signal[[order[row] for row in rows]].T * 400).astype("<i2")
        part.WaveformData = counts.tobytes()
        return part

    everything = list(range(12))
    parts = [everything[:6], everything[6:]] if split else [everything]
    beat = group(everything, 2 * mv[:, : int(fs)], "BEAT")
    ds.WaveformSequence = Sequence([beat, *(group(rows, mv, "RHYTHM") for rows in parts)])
    ds.save_as(path)
    return path


def bdf(path: Path, mv: np.ndarray, fs: float) -> Path:
    """BDF+: 24 bits of 1/32 µV, with annotations and BioSemi's channel of triggers beside the leads."""
    seconds = int(mv.shape[1] // fs)
    n = int(fs)
    labels = [*LEADS, "Status", "BDF Annotations"]

    def field(width: int, *values: object) -> bytes:
        return "".join(str(v)[:width].ljust(width) for v in values).encode()

    head = b"\xffBIOSEMI" + field(80, f"{JANE['id']} F 03-FEB-1950 {JANE['name']}_{JANE['family']}")
    head += field(80, f"Startdate 01-JAN-2020 {JANE['place']} X X") + field(8, "01.01.20", "10.00.00")
    head += field(8, 256 * 15) + field(44, "BDF+C") + field(8, seconds, 1) + field(4, 14)
    head += field(16, *labels) + field(80, *[""] * 14) + field(8, *["uV"] * 12, "Boolean", "")
    head += field(8, *[-262144] * 14, *[262143] * 14, *[-8388608] * 14, *[8388607] * 14)
    head += field(80, *[""] * 14) + field(8, *[n] * 13, 15) + field(32, *[""] * 14)
    counts = np.round((mv * 1000 + 262_144) * 16_777_215 / 524_287 - 8_388_608).astype("<i4")
    body = b""
    for second in range(seconds):
        block = np.ascontiguousarray(counts[:, second * n : (second + 1) * n])
        body += block.view(np.uint8).reshape(-1, 4)[:, :3].tobytes() + b"\x03\x02\x10" * n
        body += f"+{second}\x14\x14\0".encode().ljust(45, b"\0")
    path.write_bytes(head + body)
    return path


_SCP_LEADS = {"I": 1, "II": 2, **{f"V{i}": i + 2 for i in range(1, 7)}, "I-cal": 31,
              "III": 61, "aVR": 62, "aVL": 63, "aVF": 64}  # fmt: skip


def scp(
    path: Path,
    mv: np.ndarray,
    fs: float,
    starts: tuple[int, ...] = (0,) * 12,
    names: tuple[str, ...] = LEADS,
) -> Path:
    """Each lead from its own first sample on, uncompressed, 2.5 µV a count (EN 1064)."""

    def section(number: int, body: bytes) -> bytes:
        body += b"\0" * (len(body) % 2)
        head = struct.pack("<HIBB6s", number, 16 + len(body), 20, 20, b"" if number else b"SCPECG")
        return struct.pack("<H", binascii.crc_hqx(head + body, 0xFFFF)) + head + body

    leads = [np.round(row[at:] * 400).astype("<i2") for row, at in zip(mv, starts, strict=True)]
    place = [
        struct.pack("<IIB", at + 1, at + len(lead), _SCP_LEADS[name])
        for at, lead, name in zip(starts, leads, names, strict=True)
    ]
    texts = ((0, JANE["family"]), (1, JANE["name"]), (2, JANE["id"]))
    fields = [(tag, text.encode() + b"\0") for tag, text in texts]
    fields += [(14, bytes(41)), (25, struct.pack("<HBB", 2020, 1, 1)), (26, bytes((10, 0, 0)))]
    about = b"".join(struct.pack("<BH", tag, len(value)) + value for tag, value in fields)
    sizes = b"".join(struct.pack("<H", 2 * len(lead)) for lead in leads)
    parts = {
        1: section(1, about + b"\xff\0\0"),
        3: section(3, bytes((len(leads), len(leads) << 3)) + b"".join(place)),
        6: section(
            6, struct.pack("<HHBB", 2500, round(1e6 / fs), 0, 0) + sizes + b"".join(map(bytes, leads))
        ),
    }
    table, at = struct.pack("<HII", 0, 136, 7), 7 + 136
    for number in range(1, 12):
        size = len(parts.get(number, b""))
        table += struct.pack("<HII", number, size, at if size else 0)
        at += size
    rest = section(0, table) + b"".join(parts.values())
    rest = struct.pack("<I", 6 + len(rest)) + rest
    path.write_bytes(struct.pack("<H", binascii.crc_hqx(rest, 0xFFFF)) + rest)
    return path


def bare_dicom(path: Path, mv: np.ndarray, fs: float, form: str = "meta") -> Path:
    """DICOM without preamble and "DICM"; form: "meta" (the meta group stays), "explicit" or "implicit" VR."""
    import pydicom

    dicom(path, mv, fs)
    if form == "meta":
        path.write_bytes(path.read_bytes()[132:])
        return path
    ds = pydicom.dcmread(path)
    plain = pydicom.Dataset(ds)
    plain.save_as(path, implicit_vr=form == "implicit", little_endian=True)
    return path


WRITTEN: dict[str, tuple[str, Callable[..., Path]]] = {
    "ISHNE": ("x.ecg", ishne),
    "MFER": ("x.mwf", mfer),
    "Kardia JSON": ("x.json", kardia),
    "FHIR": ("x.json", fhir),
    "JSON": ("x.json", by_name),
    "Philips Sierra XML": ("x.xml", philips),
    "Mortara ELI XML": ("x.xml", mortara),
    "HL7 aECG": ("x.xml", aecg),
    "GE MUSE XML": ("x.xml", muse),
    "GE Sapphire XML": ("x.xml", sapphire),
    "Schiller XML": ("x.xml", schiller),
    "EDF": ("x.edf", edf),
    "BDF": ("x.bdf", bdf),
    "DICOM waveform": ("x.dcm", dicom),
    "SCP-ECG": ("x.scp", scp),
}
"""Format -> name and writer (path, signal (12, sample) mV, fs Hz), with identifiers planted."""
