from pathlib import Path

import numpy as np
import pytest

from clear_hug.io.recording import Asked, Channel, Recording
from clear_hug.io.standard import to_ecg
from clear_hug.leads import (
    EXTRA_LEADS,
    GROUP_OF,
    GROUPS,
    LEADS,
    N_LEADS,
    PAIRS,
    PAPER_3X4,
    canonical_lead,
    is_turned_over,
)


def test_every_lead_stands_once_in_each_table():
    assert len(set(LEADS)) == N_LEADS == 12
    assert sorted(row for rows in GROUPS.values() for row in rows) == list(range(N_LEADS))
    assert sorted(lead for row in PAPER_3X4 for lead in row) == sorted(LEADS)
    assert not set(LEADS) & set(EXTRA_LEADS)


def test_groups_and_pairs_are_those_of_hug():
    names = {group: [LEADS[row] for row in rows] for group, rows in GROUPS.items()}
    assert names == {
        "limb": ["I", "II", "III"],
        "augmented": ["aVR", "aVL", "aVF"],
        "precordial": ["V1", "V2", "V3", "V4", "V5", "V6"],
    }
    for lead, group in enumerate(GROUP_OF):
        assert lead in list(GROUPS.values())[group]
    assert {frozenset(pair) for pair in PAIRS} == {frozenset(p) for p in [(0, 1), (0, 2), (1, 2)]}


@pytest.mark.parametrize("lead", LEADS + EXTRA_LEADS)
@pytest.mark.parametrize("spelling", ["{}", "  {} ", "Lead {}", "lead_{}", "MDC_ECG_LEAD_{}", "ECG {}"])
def test_a_lead_is_known_under_its_usual_spellings(lead, spelling):
    for name in (lead, lead.upper(), lead.lower()):
        assert canonical_lead(spelling.format(name)) == lead


@pytest.mark.parametrize(
    ("name", "lead"),
    [("DII", "II"), ("D1", "I"), ("aVr", "aVR"), ("VF", "aVF"), ("C3", "V3"), ("V 3", "V3"), ("RV4", "V4R")],
)
def test_synonyms(name, lead):
    assert canonical_lead(name) == lead


@pytest.mark.parametrize(
    "spelling",
    ["Kanal {}", "kanaal_{}", "Kanał {}", "Canal {}", "Canale: {}", "Voie {}", "Канал {}", "Elvezetés {}",
     "Kytkentä {}", "Afledning {}", "Derywacja {}", "Απαγωγή {}", "{}-WCT", "ECG {}-WCT"],
)  # fmt: skip
def test_a_lead_is_known_in_other_languages(spelling):
    for lead in LEADS:
        assert canonical_lead(spelling.format(lead)) == lead
    assert canonical_lead(spelling.format("1")) is None


@pytest.mark.parametrize(
    "name",
    ["", "PLETH", "canali", "Kanali", "Voiei", "WCT", "V10", "V0", "IV", "EEG Fp1", "MCL", "RESP", "aVX"],
)
def test_what_is_no_lead_is_none(name):
    assert canonical_lead(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "-aVR", "Lead -aVR", "LEAD_-aVR", "Kanal -aVR", "Ch: -aVR", "-V1", "\u2212aVR", "\u2013 aVR",
        "(-)aVR", "minus aVR", "aVR (inverted)", "aVR [inv.]", "aVR_inv", "Inverted aVR", "aVR neg (mV)",
        "V1 (inverted)", "Lead \u2212aVR",
    ],
)  # fmt: skip
def test_a_minus_before_a_lead_turns_it_over(name):
    assert is_turned_over(name)
    channels = [Channel(lead, np.arange(500.0) % 7, 250.0, "mV") for lead in LEADS if lead not in name]
    told = Channel(name, np.arange(500.0) % 7, 250.0, "mV")
    ecg = to_ecg(Path("x"), Recording("x", [*channels, told]), Asked())
    row = LEADS.index("V1" if "V1" in name else "aVR")
    np.testing.assert_allclose(ecg.signal[row], -told.samples)


@pytest.mark.parametrize(
    "name",
    [
        "aVR",
        "Lead-aVR",
        "Lead - aVR",
        "Kanal-aVR",
        "ECG -V1",
        "V1 -REF",
        "PLETH -aVR",
        "Lead \u2013 aVR\u2013",
    ],
)
def test_another_stroke_turns_nothing_over(name):
    assert not is_turned_over(name)


@pytest.mark.parametrize(("name", "lead"), [("V1 (C1)", "V1"), ("C6(V6)", "V6"), ("I (LA-RA)", "I")])
def test_a_lead_named_twice_is_one(name, lead):
    assert canonical_lead(name) == lead
    assert canonical_lead("V1 (C2)") is None


@pytest.mark.parametrize("name", ["VL-WCT", "VR WCT", "VF_WCT"])
def test_a_limb_against_wilsons_terminal_is_no_augmented_lead(name):
    assert canonical_lead(name) is None
