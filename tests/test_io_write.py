"""What is written reads the same again, to the sample, and names nobody."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from clear_hug.ecg import ECG, ECGError, ecg_from_leads
from clear_hug.io import WRITERS, read_ecg, read_ecg_upload
from clear_hug.leads import LEADS

CARRIED = Path(str(get_testdata_file("waveform_ecg.dcm", download=False)))


def noise(n: int = 3000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.5, (12, n)).astype(np.float32)


RECORDS = {
    "a device's": lambda: read_ecg(CARRIED),
    "any float32": lambda: ECG(noise(), 500.0, age=71, sex="F"),
    "eight leads and gaps": lambda: eight(),
    "at 257.3 Hz": lambda: ECG(np.round(noise() * 1000) / 1000, 257.3),
    "forty seconds": lambda: ECG(np.round(noise(20_000) * 200) / 200, 500.0),
}  # fmt: skip


def eight() -> ECG:
    rows = dict(zip(LEADS, np.round(noise() * 1000) / 1000, strict=True))
    rows["V2"][100:150] = np.nan
    return ecg_from_leads(
        {lead: rows[lead] for lead in LEADS if lead not in ("III", "aVR", "aVL", "aVF")}, 500
    )


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("kind", RECORDS)
def test_a_written_record_reads_the_same(form, kind):
    ecg = RECORDS[kind]()
    again = read_ecg_upload(WRITERS[form](ecg))
    # 16 bits hold noise of any value to 1/65,000 of its span only
    step = (
        2e-6 if form != "DICOM" or kind != "any float32" else float(np.ptp(ecg.signal, axis=1).max()) / 60_000
    )
    np.testing.assert_allclose(again.signal, ecg.signal, atol=step, rtol=1e-7)
    assert (again.derived, again.absent_leads, again.units_known) == (ecg.derived, ecg.absent_leads, True)
    assert again.fs == pytest.approx(ecg.fs, rel=1e-9)
    if form != "CSV":
        assert (again.age, again.sex) == (ecg.age, ecg.sex)


@pytest.mark.parametrize("form", WRITERS)
def test_an_unknown_unit_stays_unknown(form):
    ecg = replace(RECORDS["a device's"](), units_known=False)
    if form == "DICOM":
        with pytest.raises(ECGError, match="unit is unknown"):
            WRITERS[form](ecg)
        return
    again = read_ecg_upload(WRITERS[form](ecg))
    assert not again.units_known
    np.testing.assert_allclose(again.signal, ecg.signal, atol=2e-6)


@pytest.mark.parametrize("form", WRITERS)
def test_nobody_is_named(form):
    ecg = replace(RECORDS["a device's"](), record_id="Doerrenbach_Jane_19500203")
    for name, content in WRITERS[form](ecg).items():
        for secret in (b"Doerrenbach", b"Jane", b"19500203"):
            assert secret not in content and secret.decode() not in name
