"""What is taken away says what was on screen, to the bit, and never whose ECG it is."""

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from clear_hug.beats import tokenize_beats
from clear_hug.diagnosis import diagnose
from clear_hug.explain import METHODS, explain
from clear_hug.export import (
    COLUMNS,
    SCHEMA,
    SCHEMA_VERSION,
    explanation_csv,
    explanation_json,
    version,
)
from clear_hug.leads import LEADS
from clear_hug.sheet import explanation_page, pdf_of, png_of
from clear_hug.words import NOTICE

ALL = [(name, level) for name, method in METHODS.items() for level in method.levels]
PROOF = {"word": "supported", "reasons": ["Taken away, the parts of the map make the logit fall at once."]}


# JSON


@pytest.mark.parametrize(("method", "level"), ALL)
def test_json_holds_every_figure_to_the_bit(explained, method, level):
    checkpoint, ecg, tokens, diagnosis, why = explained("lead_off", method, level)
    read = json.loads(explanation_json(checkpoint, ecg, tokens, diagnosis, [why]))
    told = read["explanations"][0]
    values = np.array(told["values"], dtype=np.float64)  # null -> NaN
    np.testing.assert_array_equal(
        values.view(np.int64) * np.isfinite(values), why.values.view(np.int64) * np.isfinite(why.values)
    )
    np.testing.assert_array_equal(np.isnan(values), np.isnan(why.values))
    assert len(told["axes"]) == values.ndim and tuple(told["names"]) == why.names
    assert (told["error"] is None) == (why.error is None)
    for name in ("logit", "bias", "residual", "rhythm"):
        figure = getattr(why, name)
        assert told[name] == (figure if np.isfinite(figure) else None)
    row = checkpoint.row("MI")
    assert told["probability"] == diagnosis.probabilities[row]
    assert [label["logit"] for label in read["diagnosis"]] == diagnosis.logits.tolist()


def test_a_label_too_rare_to_call_is_exported_without_a_threshold(explained, tokens):
    checkpoint, ecg, _, diagnosis, why = explained()
    row = checkpoint.row("MI")
    thresholds = np.array(diagnosis.thresholds)
    thresholds[row] = np.nan
    rare = replace(diagnosis, thresholds=thresholds)
    read = json.loads(explanation_json(checkpoint, ecg, tokens, rare, [why]), parse_constant=pytest.fail)
    told = read["diagnosis"]
    assert told[row]["threshold"] is None and told[row]["called"] is False
    assert [label["threshold"] is None for label in told].count(True) == 1
    calls = [label["probability"] >= label["threshold"] for label in told if label["threshold"] is not None]
    assert [label["called"] for label in told if label["threshold"] is not None] == calls


def test_json_says_what_it_is_and_what_it_rests_on(explained, tokens, some_hidden):
    checkpoint, ecg, _, diagnosis, why = explained(hidden=some_hidden, against="NORM")
    proof = {**PROOF, "gap": np.float64(0.5), "curve": np.array([1.0, np.nan])}
    given = (checkpoint, ecg, tokens, diagnosis, [why], some_hidden, proof)
    read = json.loads(explanation_json(*given, detector="clear"), parse_constant=pytest.fail)
    assert (read["schema"], read["schema_version"], read["notice"]) == (SCHEMA, SCHEMA_VERSION, NOTICE)
    assert read["software"]["version"] == version() and re.fullmatch(r"\d+\.\d+\.\d+", version())
    assert read["model"] == {"name": checkpoint.name, "digest": checkpoint.digest}
    record = read["record"]
    assert (record["fs_hz"], record["units_known"], record["detector"]) == (ecg.fs, True, "clear")
    assert record["digest"] == ecg.digest and record["r_peaks_s"] == tokens.r_peaks.tolist()
    back = np.zeros_like(some_hidden)
    for lead, beat in read["removed"]:
        back[LEADS.index(lead), beat - 1] = True
    np.testing.assert_array_equal(back, some_hidden & tokens.valid)
    assert read["proof"] == {**PROOF, "gap": 0.5, "curve": [1.0, None]}
    assert read["explanations"][0]["against"] == "superdiagnostic/NORM"
    with pytest.raises(ValueError, match="a set cannot be exported"):
        explanation_json(*given[:-1], {"figures": {1, 2}})


# CSV


def table(data):
    lines = data.decode().splitlines()
    head = [line for line in lines if line.startswith("#")]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines[len(head) :]))))
    return head, rows


@pytest.mark.parametrize(("method", "level"), ALL)
def test_csv_has_a_row_a_value(explained, method, level):
    checkpoint, _, tokens, _, why = explained("lead_off", method, level)
    data = explanation_csv(checkpoint, tokens, [why, why])
    head, rows = table(data)
    assert f"# {NOTICE}" in head and any(checkpoint.digest in line for line in head)
    assert any(f"{method} by {level}" in line for line in head)
    assert len(rows) == 2 * why.values.size and tuple(rows[0]) == COLUMNS
    values = [float(row["value"] or "nan") for row in rows[: why.values.size]]
    np.testing.assert_array_equal(np.reshape(values, why.values.shape), why.values)
    assert {row["target"] for row in rows} == {"superdiagnostic/MI"}
    for row in rows:
        if row["beat"]:
            assert float(row["r_peak_s"]) == tokens.r_peaks[int(row["beat"]) - 1]
    if level == "token":
        assert [(row["lead"], int(row["beat"])) for row in rows[: tokens.n_beats + 1]] == [
            *((LEADS[0], k + 1) for k in range(tokens.n_beats)),
            (LEADS[1], 1),
        ]
    column = np.genfromtxt(io.BytesIO(data), delimiter=",", skip_header=len(head) + 1, usecols=9)
    np.testing.assert_array_equal(column[: why.values.size], why.values.ravel())


def test_each_file_says_what_the_page_says_before_a_number(explained, tokens):
    checkpoint, ecg, _, diagnosis, why = explained()
    care = ["Pacing spikes were found.", "The rhythm cannot be told from 2 beats."]
    read = json.loads(explanation_json(checkpoint, ecg, tokens, diagnosis, [why], care=care))
    assert read["read_with_care"][:2] == care
    head, _ = table(explanation_csv(checkpoint, tokens, [why], care=care))
    assert all(any(sentence in line for line in head) for sentence in care)


def test_csv_names_the_record_by_its_digest_alone(explained):
    checkpoint, ecg, tokens, _, why = explained()
    head = explanation_csv(checkpoint, tokens, [why]).decode().splitlines()[:4]
    assert f"# record: {ecg.digest}" in head and ecg.record_id not in "".join(head)


def test_csv_tells_what_was_left_out_and_how_far_it_may_be_believed(explained):
    checkpoint, _, tokens, _, why = explained("lead_off")
    hidden = np.zeros_like(tokens.valid)
    hidden[:, 1] = True
    proof = {"word": "weak", "reasons": ["The gap is small, and may be chance."]}
    head, _ = table(explanation_csv(checkpoint, tokens, [why], hidden, proof))
    assert any("beat 2" in line and "Left out by choice" in line for line in head)
    assert any("V3" in line for line in head)  # the lead that is off
    assert "# map of leads: weak" in head and any("may be chance" in line for line in head)


@pytest.mark.parametrize(
    "evil", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "a,=1+1", "a\r\n=1", "\t=1", 'a";=1']
)
def test_csv_holds_no_formula(explained, evil):
    checkpoint, _, tokens, _, why = explained()
    bad = replace(why, names=(evil, *why.names[1:]), model=evil)
    data = explanation_csv(replace(checkpoint, name=evil), tokens, [bad]).decode()
    numbers = re.compile(r"-?[\d.]+(e-?\d+)?$")
    for line in data.split("\r\n"):
        assert "\n" not in line
        for cell in re.split("[,;\t]", line):
            assert cell[:1] not in set('=+@"') and (cell[:1] != "-" or numbers.match(cell)), line
    assert len(table(data.encode())[1]) == 12


# Whose it is


def test_no_export_names_the_record_unless_asked(checkpoint, simulated, tokens_of):
    name = "Doe, Jane $x_1$ 1970\n山"
    ecg = replace(
        simulated("normal"), record_id=name, age=61.0, sex="F", warnings=(f"odd: {name}",), source=name
    )
    tokens = tokenize_beats(ecg)
    d, why = diagnose(checkpoint, tokens), explain(checkpoint, tokens, "MI")
    given = checkpoint, ecg, tokens, d
    plain = explanation_json(*given, [why]) + explanation_csv(checkpoint, tokens, [why])
    plain += pdf_of(explanation_page(*given, why)) + png_of(explanation_page(*given, why))
    for secret in (b"Doe", b"Jane", b"61.0", b'"F"'):
        assert secret not in plain
    assert json.loads(explanation_json(*given, [why], with_record_id=True))["record"]["id"] == name


# What does not belong together


def test_values_that_do_not_belong_together_are_refused_in_words(explained, tokens_of, simulated, checkpoint):
    checkpoint, ecg, tokens, d, why = explained()
    hidden = np.zeros_like(tokens.valid)
    hidden[6] = True
    other = diagnose(checkpoint, tokens, np.ones_like(hidden))
    left = explain(checkpoint, tokens, "MI", hidden=hidden)
    for given, sentence in (
        ((checkpoint, simulated("long"), tokens, d, why), "another record than the ECG"),
        (
            (replace(checkpoint, name="big"), ecg, tokens, d, why),
            "by model 'tiny', and the checkpoint is 'big'",
        ),
        ((checkpoint, ecg, tokens, other, why), "the diagnosis says"),
        ((checkpoint, ecg, tokens, diagnose(checkpoint, tokens, hidden), left), "left other tokens out"),
        ((checkpoint, ecg, tokens, d, replace(why, method="guess")), "method = 'guess'; expected one of hug"),
        ((checkpoint, ecg, tokens, d, replace(why, level="beat", values=why.values[:5])), "has 5 beats"),
        ((checkpoint, ecg, tokens, d, why, np.zeros((12, 1))), "hidden has shape"),
    ):
        for make, wrap in ((explanation_json, True), (explanation_page, False)):
            with pytest.raises(ValueError, match=sentence):
                make(*given[:4], [given[4]] if wrap else given[4], *given[5:])
    with pytest.raises(ValueError, match="no explanation to export"):
        explanation_csv(checkpoint, tokens, [])
