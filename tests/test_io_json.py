"""JSON as apps, notebooks and FHIR write it: the same ECG comes out of each, or a sentence."""

import gzip
import json
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


def twice(folder: Path) -> Path:
    return written(folder, {**SAID, "leads": [{"lead": "I", "samples": r} for r in ROWS]})


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


REFUSED = {units: "several values of unit", rates: "several values of fs", twice: "lead I twice",
           cut: "cut short", deep: "levels", deeper: "cut short|levels", no_number: "no numbers"}  # fmt: skip


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_what_cannot_be_read_is_refused_in_a_sentence(tmp_path, make):
    with pytest.raises(ECGError, match=REFUSED[make]):
        read_ecg(make(tmp_path))


def test_json_without_samples_is_no_record(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"betas": [0.9, 0.98], "folds": list(range(50))}))
    written(tmp_path, {**SAID, "leads": NAMED})
    assert [path.name for path in find_records(tmp_path)] == ["ecg.json"]


@pytest.mark.parametrize("name", ["ecg.json", "ecg.csv"])
def test_packed_by_gzip(tmp_path, name):
    text = json.dumps({**SAID, "leads": NAMED}) if name.endswith("json") else TABLE.to_csv(index=False)
    packed = gzip.compress(text.encode())
    (tmp_path / f"{name}.gz").write_bytes(packed)
    for ecg in (read_ecg(tmp_path / f"{name}.gz", fs=FS), read_ecg_upload({f"{name}.gz": packed}, fs=FS)):
        np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)
    with pytest.raises(ECGError, match="cut short") as caught:
        read_ecg_upload({"Doe.json.gz": packed[:-100]})
    assert "Doe" not in str(caught.value)
