"""JSON as apps, notebooks and FHIR write it: the same ECG comes out of each, or a sentence."""

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clear_hug.ecg import ECGError
from clear_hug.io import NeedsAnswer, find_records, read_ecg, read_ecg_upload
from clear_hug.leads import LEADS
from clear_hug.simulate import simulate_ecg
from tests.written_formats import bundle, coded, sampled

FS = 250
MV = np.round(simulate_ecg("normal", fs=float(FS)).signal.astype(np.float64), 4)  # (12, 2500) mV, 10 s
ROWS = MV.tolist()
NAMED = dict(zip(LEADS, ROWS, strict=True))
TABLE = pd.DataFrame(MV.T, columns=list(LEADS))
SAID = {"fs": FS, "unit": "mV"}
MICRO = np.round(MV * 1000).astype(int).tolist()

# name -> the tree, what must have been guessed
TREES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "leads by name": (lambda: {**SAID, "leads": NAMED}, ()),
    "leads by name, bare": (lambda: NAMED, ("fs", "unit")),
    "within other things": (
        lambda: {"id": 7, "ecg": {"sampling_rate": "250 Hz", "units": "mV", "signals": NAMED}}, ()),
    "an object a lead": (
        lambda: {**SAID, "leads": [{"lead": n, "samples": r} for n, r in NAMED.items()]}, ()),
    "an object a lead, with its unit and rate": (
        lambda: [{"name": n, "unit": "uV", "sampleRate": FS, "data": r}
                 for n, r in zip(LEADS, MICRO, strict=True)], ()),
    "leads as keys of objects": (
        lambda: {"fs": FS, "leads": {n: {"unit": "mV", "values": r} for n, r in NAMED.items()}}, ()),
    "samples as text": (
        lambda: {**SAID, "leads": {n: " ".join(map(str, r)) for n, r in NAMED.items()}}, ()),
    "samples as text with commas": (
        lambda: {**SAID, "leads": {n: ",".join(map(str, r)) for n, r in NAMED.items()}}, ()),
    "rows of an array": (lambda: {**SAID, "lead_names": list(LEADS), "signal": ROWS}, ()),
    "columns of an array": (lambda: {**SAID, "lead_names": list(LEADS), "signal": MV.T.tolist()}, ()),
    "rows alone": (lambda: ROWS, ("orientation", "leads", "fs", "unit")),
    "objects without names": (
        lambda: {**SAID, "channels": [{"samples": r} for r in ROWS]}, ("orientation", "leads")),
    "pandas: records": (lambda: json.loads(TABLE.to_json(orient="records")), ("fs", "unit")),
    "pandas: columns": (lambda: json.loads(TABLE.to_json(orient="columns")), ("fs", "unit")),
    "pandas: split": (lambda: json.loads(TABLE.to_json(orient="split")), ("fs", "unit")),
    "seconds beside the leads": (
        lambda: {"unit": "mV", "time": (np.arange(MV.shape[1]) / FS).tolist(), **NAMED}, ()),
}  # fmt: skip


def observation(**changed: Any) -> dict[str, Any]:
    parts = [
        {"code": coded(lead), "valueSampledData": sampled(row, FS)}
        for lead, row in zip(LEADS, MICRO, strict=True)
    ]
    given = {"resourceType": "Observation", "effectiveDateTime": "2015-02-19T09:30:35+01:00"}
    return {**given, "component": parts, **changed}


def a_lead_each(seconds: float = 0.0) -> dict[str, Any]:
    """An observation a lead; the last six begin later."""
    return bundle(*(
        {"resourceType": "Observation", "code": coded(lead), "valueSampledData": sampled(row, FS),
         "effectiveDateTime": f"2015-02-19T09:30:{35 + (seconds if i > 5 else 0):06.3f}+01:00"}
        for i, (lead, row) in enumerate(zip(LEADS, MICRO, strict=True))
    ))  # fmt: skip


FHIR: dict[str, Callable[[], Any]] = {
    "components": observation,
    "in a bundle": lambda: bundle({"resourceType": "Patient", "gender": "female"}, observation()),
    "an observation a lead": a_lead_each,
    "R5": lambda: observation(component=[
        {"code": {"text": f"Lead {lead}"},
         "valueSampledData": sampled(row, FS, period=None, interval=4, intervalUnit="ms")}
        for lead, row in zip(LEADS, MICRO, strict=True)]),
    "named by MDC": lambda: observation(component=[
        {"code": {"coding": [{"display": f"MDC_ECG_ELEC_POTL_{lead.upper()}"}]},
         "valueSampledData": sampled(row, FS)}
        for lead, row in zip(LEADS, MICRO, strict=True)]),
    "coded as leads": lambda: observation(component=[
        {"code": coded(lead, 131_072), "valueSampledData": sampled(row, FS)}
        for lead, row in zip(LEADS, MICRO, strict=True)]),
    "a factor and an origin": lambda: observation(component=[
        {"code": coded(lead), "valueSampledData": sampled(
            (np.array(row) - 1024).tolist(), FS, factor=0.001, origin={"value": 1.024, "code": "mV"})}
        for lead, row in zip(LEADS, MICRO, strict=True)]),
}  # fmt: skip


def written(folder: Path, tree: Any) -> Path:
    path = folder / "ecg.json"
    path.write_text(json.dumps(tree))
    return path


@pytest.mark.parametrize("name", TREES)
def test_the_same_ecg_from_each(tmp_path, name):
    tree, guessed = TREES[name]
    ecg = read_ecg(written(tmp_path, tree()), fs=FS if "fs" in guessed else None)
    assert ecg.fs == FS and ecg.units_known == ("unit" not in guessed)
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)
    assert set(ecg.guessed) == set(guessed) - {"fs"}


@pytest.mark.parametrize("name", FHIR)
def test_fhir(tmp_path, name):
    ecg = read_ecg(written(tmp_path, FHIR[name]()))
    assert (ecg.fs, ecg.units_known, ecg.guessed, ecg.source) == (FS, True, (), "FHIR")
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)
    assert ecg.sex == ("F" if "bundle" in name else None)


def test_fhir_tells_the_age_and_no_name(tmp_path):
    patient = {"resourceType": "Patient", "name": [{"family": "Doe"}], "birthDate": "1955-02-20"}
    ecg = read_ecg(written(tmp_path, bundle(patient, observation())))
    assert ecg.age == 59
    assert "Doe" not in repr(ecg.warnings) and "Doe" not in repr(ecg.extra)


def test_leads_that_begin_later_stand_later(tmp_path):
    ecg = read_ecg(written(tmp_path, a_lead_each(2.0)))
    assert ecg.n_samples == MV.shape[1] + 2 * FS
    assert np.isnan(ecg.signal[6:, : 2 * FS]).all() and np.isnan(ecg.signal[:6, -2 * FS :]).all()
    np.testing.assert_allclose(ecg.signal[6:, 2 * FS :], MV[6:], atol=1e-3)
    assert any("different times" in said for said in ecg.warnings)


def test_one_of_several_observations_is_asked_for(tmp_path):
    later = observation(effectiveDateTime="2016-01-01T00:00:00Z")
    later["component"] = later["component"][:8]
    path = written(tmp_path, bundle(observation(), later))
    with pytest.raises(NeedsAnswer) as caught:
        read_ecg(path)
    assert caught.value.asks == ("record",) and caught.value.records == 2
    assert read_ecg(path, record=2).absent_leads == LEADS[8:]


def test_one_of_several_records_is_asked_for(tmp_path):
    tree = {"records": [{**SAID, "id": i, "ecg": (MV * i).tolist()} for i in (1, 2)]}
    path = written(tmp_path, tree)
    with pytest.raises(NeedsAnswer) as caught:
        read_ecg(path)
    assert caught.value.asks == ("record",) and caught.value.records == 2
    np.testing.assert_allclose(read_ecg(path, record=2).signal, 2 * MV, atol=1e-3)


def test_what_lies_beyond_the_device_is_said_and_an_error_is_absent(tmp_path):
    tree = observation()
    data = tree["component"][6]["valueSampledData"]
    words = data["data"].split()
    words[10:14], words[20] = ["U"] * 4, "E"
    data |= {"data": " ".join(words), "upperLimit": 3300}
    ecg = read_ecg(written(tmp_path, tree))
    np.testing.assert_allclose(ecg.signal[6, 10:14], 3.3)
    assert np.isnan(ecg.signal[6, 20]) and np.isfinite(ecg.signal[6, 14:20]).all()
    assert any("4 samples of lead V1" in said for said in ecg.warnings)


def test_null_is_no_sample(tmp_path):
    rows: list[list[float | None]] = [list(row) for row in ROWS]
    rows[7][100:110] = [None] * 10
    ecg = read_ecg(written(tmp_path, {**SAID, "leads": dict(zip(LEADS, rows, strict=True))}))
    assert np.isnan(ecg.signal[7, 100:110]).all() and np.isfinite(ecg.signal[7, :100]).all()


def units(folder: Path) -> Path:
    leads = [{"lead": n, "unit": "mV" if n != "V2" else "uV", "samples": r} for n, r in NAMED.items()]
    return written(folder, {"fs": FS, "leads": leads})


def rates(folder: Path) -> Path:
    leads = [{"lead": n, "fs": FS if n != "V2" else 500, "samples": r} for n, r in NAMED.items()]
    return written(folder, {"unit": "mV", "leads": leads})


def cut(folder: Path) -> Path:
    path = written(folder, {**SAID, "leads": NAMED})
    path.write_text(path.read_text()[:-200])
    return path


def deep(folder: Path) -> Path:
    path = folder / "ecg.json"
    path.write_text('{"a":' * 60 + json.dumps(ROWS) + "}" * 60)
    return path


def deeper(folder: Path) -> Path:
    path = folder / "ecg.json"
    path.write_text('{"a":' * 50_000 + json.dumps(ROWS) + "}" * 50_000)
    return path


def no_number(folder: Path) -> Path:
    tree = observation()
    tree["component"][3]["valueSampledData"]["data"] += " x7"
    return written(folder, tree)


REFUSED = {units: "differ in “unit”", rates: "differ in “fs”", cut: "cut short", deep: "no leads of an ECG",
           deeper: "too deep", no_number: "no numbers"}  # fmt: skip


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_what_cannot_be_read_is_refused_in_a_sentence(tmp_path, make):
    with pytest.raises(ECGError, match=REFUSED[make]):
        read_ecg(make(tmp_path))


LEAD_OBJECTS = [{"lead": n, "samples": r} for n, r in NAMED.items()]
SECONDS = (np.arange(MV.shape[1]) / FS).tolist()


def each(**changed: Callable[[int], Any]) -> list[dict[str, Any]]:
    """An object a lead, each saying of itself what `changed` makes of its row."""
    return [{**one, **{k: make(i) for k, make in changed.items()}} for i, one in enumerate(LEAD_OBJECTS)]


NEAR: dict[str, Any] = {
    "of a filter": {
        "filters": {"notch": {"frequency": 50}},
        "sampling_rate": FS,
        "unit": "mV",
        "leads": NAMED,
    },
    "of another signal": {"ppg": {"fs": 100, "samples": [0.5] * 500}, "ecg": {**SAID, "leads": NAMED}},
    "of the heart": {"heart": {"rate": 72}, "sampling_rate": FS, "unit": "mV", "leads": NAMED},
    "of the battery": {
        "battery": {"value": 3.9, "unit": "V"},
        "fs": FS,
        "ecg": {"unit": "mV", "leads": NAMED},
    },
    "with their units": {
        "samplingRate": {"value": FS, "unit": "Hz"},
        "amplitude": {"unit": "mV"},
        "leads": NAMED,
    },
    "nearer than others": {"fs": 100, "unit": "V", "ecg": {**SAID, "leads": NAMED}},
    "in an object beside": {"meta": {**SAID}, "leads": NAMED},
    "a list of the same": {"fs": FS, "units": ["mV"] * 12, "leads": NAMED},
}


@pytest.mark.parametrize("name", NEAR)
def test_rate_and_unit_are_those_that_stand_nearest(tmp_path, name):
    ecg = read_ecg(written(tmp_path, NEAR[name]))
    assert (ecg.fs, ecg.units_known, ecg.guessed) == (FS, True, ())
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)


def test_other_encodings(tmp_path):
    text = json.dumps({"clinic": "M\xfcnchen", **SAID, "leads": NAMED}, ensure_ascii=False)
    for encoding in ("cp1252", "utf-8-sig", "utf-16"):
        (tmp_path / "ecg.json").write_bytes(text.encode(encoding))
        np.testing.assert_allclose(read_ecg(tmp_path / "ecg.json").signal, MV, atol=1e-3)


def test_age_is_the_patients(tmp_path):
    tree = {"device": {"age": 2}, "patient": {"age": 61, "sex": "F"}, **SAID, "leads": NAMED}
    ecg = read_ecg(written(tmp_path, tree))
    assert (ecg.age, ecg.sex) == (61, "F")


APART: dict[str, tuple[Any, str]] = {
    "a rate for one": ({"unit": "mV", "leads": each(fs=lambda i: FS if i else None)}, "differ in “fs”"),
    "units by lead": ({"fs": FS, "unit": dict.fromkeys(LEADS[:6], "mV") | dict.fromkeys(LEADS[6:], "uV"),
                       "leads": NAMED}, "several units"),
    "rates that contradict": ({"fs": FS, "sampling_rate": 500, "leads": NAMED}, "several rates"),
    "gains": ({**SAID, "leads": each(gain=lambda i: 1000 if i < 6 else 200)}, "differ in “gain”"),
    "scales": ({**SAID, "leads": each(scale=lambda i: 0.001 * (1 + i))}, "differ in “scal”"),
    "units as keys of objects": ({"fs": FS, "leads": {
        n: {"unit": "mV" if i < 6 else "uV", "v": r} for i, (n, r) in enumerate(NAMED.items())}},
        "differ in “unit”"),
    "patients": ({**SAID, "leads": each(patient=lambda i: i)}, "differ in “patient”"),
    "starts": ({**SAID, "leads": each(start_ms=lambda i: 2500 * (i // 3))}, "differ in “start”"),
    "delays": ({**SAID, "leads": each(delay_samples=lambda i: i)}, "differ in “delay”"),
    "times": (
        {"unit": "mV", "leads": each(time=lambda i: (np.array(SECONDS) + i).tolist())}, "different times"),
    "lengths": ({**SAID, "leads": {**NAMED, "II": ROWS[1] * 2}}, "2,500 to 5,000 samples"),
    "several arrays": ({**SAID, "leads": [{"lead": "I", "a": ROWS[0], "b": ROWS[1]}]}, "several may be its"),
    "names for no matrix": ({**SAID, "leads": list(LEADS[:6]), "data": ROWS}, "names 6 leads"),
}  # fmt: skip


@pytest.mark.parametrize("name", APART)
def test_what_is_no_ecg_recorded_at_once_is_refused(tmp_path, name):
    tree, said = APART[name]
    with pytest.raises(ECGError, match=said) as caught:
        read_ecg(written(tmp_path, tree))
    assert "ecg.json" in str(caught.value)
    with pytest.raises(ECGError, match=said):
        read_ecg_upload({"Doe.json": json.dumps(tree).encode()})


SEVERAL: dict[str, Any] = {
    "two patients": {"version": 1, **SAID, "records": [
        {"patient": "A", "leads": dict(zip(LEADS[:2], ROWS, strict=False))},
        {"patient": "B", "leads": NAMED}]},
    "raw and filtered": {**SAID, "raw": {"I": ROWS[1], "II": ROWS[0]}, "filtered": NAMED},
    "matrices with names of their own": {"records": [
        {"fs": 100, "unit": "uV", "names": list(LEADS[::-1]), "data": ROWS},
        {**SAID, "names": list(LEADS), "data": ROWS}]},
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL)
def test_several_groups_of_leads_are_several_records(tmp_path, name):
    path = written(tmp_path, SEVERAL[name])
    with pytest.raises(NeedsAnswer) as caught:
        read_ecg(path)
    assert caught.value.asks == ("record",) and caught.value.records == 2
    ecg = read_ecg(path, record=2)
    assert (ecg.fs, ecg.units_known) == (FS, True)
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)


def test_readings_one_after_another_are_no_leads(tmp_path):
    """Eight readings of a watch: each has one lead, which no name tells."""
    readings = [
        {"startTime": f"2024-01-0{i + 1}T09:00", "waveformSamples": row, "samplingFrequencyHz": "250"}
        for i, row in enumerate(ROWS[:8])
    ]
    path = written(tmp_path, {"ecgReadings": readings, "pagination": {}})
    with pytest.raises(NeedsAnswer) as caught:
        read_ecg(path)
    assert caught.value.asks == ("record",) and caught.value.records == 8
    ecg = read_ecg(path, record=2, leads=["I"])
    assert ecg.fs == FS and ecg.absent_leads == LEADS[1:]
    np.testing.assert_allclose(ecg.signal[0], MV[1], atol=1e-3)


def test_an_average_is_no_record(tmp_path):
    median = {n: r[:600] for n, r in NAMED.items()}
    ecg = read_ecg(written(tmp_path, {**SAID, "median": median, "rhythm": {"leads": NAMED}}))
    assert ecg.n_samples == MV.shape[1] and any("left out" in said for said in ecg.warnings)


def test_samples_beside_other_arrays_of_a_lead(tmp_path):
    tree = {"unit": "mV", "leads": each(time=lambda i: SECONDS, rr_intervals=lambda i: [0.8] * 9000)}
    ecg = read_ecg(written(tmp_path, tree))
    assert ecg.fs == FS and any("12 arrays beside the leads" in said for said in ecg.warnings)
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)


def test_a_lead_without_samples_is_named(tmp_path):
    for leads in ({**NAMED, "V2": []}, each(samples=lambda i: ROWS[i] if i != 7 else None)):
        ecg = read_ecg(written(tmp_path, {**SAID, "leads": leads}))
        assert ecg.absent_leads == ("V2",)
        assert any("Without samples that can be read: V2" in said for said in ecg.warnings)


def test_a_column_of_times_among_the_names_is_no_lead(tmp_path):
    tree = {"header": ["t", *LEADS], "unit": "mV", "data": np.c_[SECONDS, MV.T].tolist()}
    ecg = read_ecg(written(tmp_path, tree))
    assert (ecg.fs, ecg.guessed) == (FS, ())
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)


def test_channels_that_are_numbered_stand_by_their_numbers(tmp_path):
    channels = [{"number": i + 1, "samples": row} for i, row in enumerate(ROWS)][::-1]
    ecg = read_ecg(written(tmp_path, {**SAID, "channels": channels}))
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)


def test_empty_cells_of_a_text_keep_their_place(tmp_path):
    texts = {n: ",".join("" if 50 <= k < 60 else f"{x}" for k, x in enumerate(r)) for n, r in NAMED.items()}
    for leads in (texts, {n: text.split(",") for n, text in texts.items()}):
        ecg = read_ecg(written(tmp_path, {**SAID, "leads": leads}))
        assert np.isnan(ecg.signal[:, 50:60]).all()
        np.testing.assert_allclose(ecg.signal[:, 60:], MV[:, 60:], atol=1e-3)


@pytest.mark.parametrize("join", ["; ", " ", None])
def test_decimal_commas_are_not_read(tmp_path, join):
    texts = {n: [f"{x:.4f}".replace(".", ",") for x in r] for n, r in NAMED.items()}
    leads = texts if join is None else {n: join.join(text) for n, text in texts.items()}
    with pytest.raises(ECGError, match="no leads of an ECG"):
        read_ecg(written(tmp_path, {**SAID, "leads": leads}))


TABLES_THAT_BEGIN_AS_JSON = {
    "a section": "[Header]\nSampling rate=250 Hz\nUnit=mV\n[Data]\n",
    "a line of JSON": '{"fs": 250, "unit": "mV"}\n',
}


@pytest.mark.parametrize("name", TABLES_THAT_BEGIN_AS_JSON)
def test_tables_that_begin_as_json_does_are_tables(tmp_path, name):
    path = tmp_path / "ecg.csv"
    path.write_text(TABLES_THAT_BEGIN_AS_JSON[name] + TABLE.to_csv(index=False))
    ecg = read_ecg(path, fs=FS)
    assert ecg.source == "CSV"
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)


def test_json_of_other_things_is_no_record(tmp_path):
    others = {
        "settings": {"betas": [0.9, 0.98], "folds": list(range(500))},
        "peaks": {"r_peaks": list(range(0, 2500, 5)), "leads": {"I": 0, "II": 1}},
        "losses": [{"epoch": i, "loss": 1 / (i + 1)} for i in range(300)],
        "polygons": [{"segmentation": [list(range(300)), list(range(300))], "id": 1}] * 5,
        "spaces": {"palette": "  ,  ".join(map(str, range(5000))), "text": "abc " * 500},
    }
    for name, tree in others.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(tree))
    (tmp_path / "hostile.json").write_text(
        '{"palette": [' + " , ".join(map(str, range(5000))) + '], "t": "abc'
    )
    written(tmp_path, {**SAID, "leads": NAMED})
    assert [path.name for path in find_records(tmp_path) if "polygons" not in path.name] == ["ecg.json"]
    csv, peaks = TABLE.to_csv(index=False).encode(), (tmp_path / "peaks.json").read_bytes()
    ecg = read_ecg_upload({"Doe.csv": csv, "Doe.json": peaks}, fs=FS)
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)
    with pytest.raises(ECGError, match="no leads of an ECG"):
        read_ecg(tmp_path / "peaks.json")


BROKEN: dict[str, tuple[str, Any, str]] = {
    "a factor in words": ("factor", "4,88", "factor that is no number"),
    "a factor with its unit": ("factor", {"value": 4.88}, "factor that is no number"),
    "dimensions in words": ("dimensions", "two", "dimensions that is no number"),
    "an origin in words": ("origin", {"value": "1.0", "unit": "uV"}, "value that is no number"),
    "an interval in minutes": ("intervalUnit", "min", "expected ms"),
    "a lead cut short": ("data", "1 2 3 4", "unlike length"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_fhir_that_cannot_be_read_is_refused(tmp_path, name):
    key, value, said = BROKEN[name]
    tree = observation()
    tree["component"][3]["valueSampledData"][key] = value
    with pytest.raises(ECGError, match=said):
        read_ecg(written(tmp_path, tree))


def test_observations_of_other_people_or_days_are_not_joined(tmp_path):
    def half(rows: slice, **said: Any) -> dict[str, Any]:
        return observation(**said, component=observation()["component"][rows])

    first, rest = slice(0, 6), slice(6, 12)
    for one, other in (
        ({"subject": {"reference": "Patient/1"}}, {"subject": {"reference": "Patient/2"}}),
        ({"effectiveDateTime": "2015"}, {"effectiveDateTime": "2019-01-01"}),
        ({"effectiveDateTime": "2015-02-19T09:30:35Z"}, {"effectiveDateTime": "2015-02-19T09:31:35Z"}),
    ):
        path = written(tmp_path, bundle(half(first, **one), half(rest, **other)))
        with pytest.raises(NeedsAnswer) as caught:
            read_ecg(path)
        assert caught.value.records == 2
        assert read_ecg(path, record=2).absent_leads == LEADS[:6]
    path = written(tmp_path, bundle(half(first), half(rest)))
    np.testing.assert_allclose(read_ecg(path).signal, MV, atol=1e-3)


def test_what_files_call_things_is_not_repeated(tmp_path):
    tree = {"Doe_John": {**SAID, "Roe_Jane": [0.0] * 500, "leads": {**NAMED, "Jane Roe": ROWS[0]}}}
    ecg = read_ecg_upload({"x.json": json.dumps(tree).encode()})
    parts = observation()["component"]
    parts.append({"code": {"text": "Recording of John Doe"}, "valueSampledData": sampled(MICRO[0], FS)})
    other = read_ecg_upload({"x.json": json.dumps(observation(component=parts)).encode()})
    for said in (*ecg.warnings, *other.warnings):
        assert not any(name in said for name in ("Doe", "Roe", "Jane", "John"))


@pytest.mark.parametrize("name", ["ecg.json", "ecg.csv"])
def test_packed_by_gzip(tmp_path, name):
    text = json.dumps({**SAID, "leads": NAMED}) if name.endswith("json") else TABLE.to_csv(index=False)
    packed = gzip.compress(text.encode())
    (tmp_path / f"{name}.gz").write_bytes(packed)
    for ecg in (read_ecg(tmp_path / f"{name}.gz", fs=FS), read_ecg_upload({f"{name}.gz": packed}, fs=FS)):
        np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("readme.md", "# about")
        archive.writestr(f"{name}.gz", packed)
    np.testing.assert_allclose(read_ecg(tmp_path / "all.zip", fs=FS).signal, MV, atol=1e-3)
    with pytest.raises(ECGError, match="cut short") as caught:
        read_ecg_upload({"Doe.json.gz": packed[:-100]})
    assert "Doe" not in str(caught.value)
