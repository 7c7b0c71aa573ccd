"""What is kept of a record, what a cohort answers, its pictures as data, and its page."""

from __future__ import annotations

import csv
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from clear_hug.beats import tokenize_beats
from clear_hug.checkpoint import Checkpoint
from clear_hug.cohort import SORTS, Cohort, describe, embed, list_entries, make_cohort, project
from clear_hug.diagnosis import diagnose
from clear_hug.ecg import ECG
from clear_hug.export import cohort_csv
from clear_hug.index import build, index_path, open_cohort
from clear_hug.known import Known
from clear_hug.plots.cohort import Points, _map_data, plot_cohort_map, thumbnail
from clear_hug.simulate import SIMULATED
from clear_hug.ui import cohort as cohort_ui
from clear_hug.ui.cohort import table_of
from clear_hug.ui.records import BUILT_IN
from clear_hug.words import NOTICE

pytestmark = pytest.mark.usefixtures("own_cache")

ROOT = Path(__file__).parent.parent
TARGET = "superdiagnostic/MI"
Simulated = Callable[..., ECG]


@pytest.fixture(scope="module")
def made(checkpoint: Checkpoint, simulated: Simulated) -> Cohort:
    """A cohort of simulated records: the first two are one ECG, the last could not be read."""
    ecgs = [simulated(kind, seed) for kind in ("normal", "premature", "high_voltage") for seed in (0, 1)]
    found = [describe(checkpoint, ecg) for ecg in (ecgs[0], *ecgs)]
    known = [{"superdiagnostic": ("MI",)}, {"superdiagnostic": ()}, *[{}] * 5]
    records = [
        (f"k{i}", f"record {i}", one, Known(labels, age=40.0 + i))
        for i, (one, labels) in enumerate(zip(found, known, strict=True))
    ]
    return make_cohort(checkpoint, [*records, ("bad", "torn", "torn holds no ECG.", Known())])


# One record


@pytest.mark.parametrize("kind", ["normal", "lead_off", "long"])
def test_an_index_says_what_a_diagnosis_says(kind: str, checkpoint: Checkpoint) -> None:
    tokens = tokenize_beats(SIMULATED[kind]())
    logits, embedding = embed(checkpoint, tokens)
    np.testing.assert_allclose(logits, diagnose(checkpoint, tokens).logits, atol=1e-5)
    assert embedding.shape == (checkpoint.model.clear.config.width,) and np.isfinite(embedding).all()


def test_a_description_is_the_same_each_time(checkpoint: Checkpoint, simulated: Simulated) -> None:
    one, again = (describe(checkpoint, simulated("premature")) for _ in range(2))
    assert one.novelty == again.novelty > 0 and one.quality == again.quality
    np.testing.assert_array_equal(one.trace, again.trace)
    assert np.abs(one.trace).max() == 127 and one.peak > 0.3 and one.lead == "II"
    assert one.beats > 5 and 30 < one.rate < 200


def test_a_record_without_lead_ii_shows_another(checkpoint: Checkpoint, simulated: Simulated) -> None:
    signal = np.array(simulated().signal)
    signal[:6] = np.nan
    assert describe(checkpoint, replace(simulated(), signal=signal)).lead == "V1"


# What a cohort answers


@pytest.mark.parametrize("by", SORTS)
@pytest.mark.parametrize("descending", [True, False])
def test_order_is_total_and_ends_with_what_is_unknown(made: Cohort, by: str, descending: bool) -> None:
    rows = made.order(np.arange(len(made)), by, TARGET, descending)
    assert sorted(rows) == list(range(len(made)))
    value = made.values(by, TARGET)[rows]
    known = np.isfinite(value)
    assert known[: known.sum()].all()
    steps = np.diff(value[known])
    assert (steps <= 0).all() if descending else (steps >= 0).all()
    some = made.order(np.array([1, 3]), by, TARGET, descending)
    assert some.tolist() == [row for row in rows if row in (1, 3)]


def test_uncertainty_is_highest_at_the_threshold(made: Cohort) -> None:
    column = made.column(TARGET)
    threshold = made.thresholds[column]
    p = np.array(made.probabilities)
    p[:5, column] = 0, threshold / 2, threshold, (1 + threshold) / 2, 1
    found = replace(made, probabilities=p).uncertainty(TARGET)
    np.testing.assert_allclose(found[:5], [0, 0.5, 1, 0.5, 0], atol=1e-12)
    assert np.isnan(found[-1])


def test_a_label_without_a_threshold_has_no_uncertainty(made: Cohort) -> None:
    none = replace(made, thresholds=np.full(len(made.targets), np.nan))
    assert np.isnan(none.uncertainty(TARGET)).all()
    assert sorted(none.order(np.arange(len(made)), "uncertainty", TARGET)) == list(range(len(made)))


def test_error_is_of_known_labels_alone(made: Cohort) -> None:
    p = made.probabilities[:, made.column(TARGET)]
    np.testing.assert_allclose(made.error(TARGET)[:2], [1 - p[0], p[1]])
    assert np.isnan(made.error(TARGET)[2:]).all()


def test_the_same_ecg_is_the_nearest_neighbour(made: Cohort) -> None:
    rows, alike = made.neighbours(0, 4)
    assert rows[0] == 1 and alike[0] == pytest.approx(1, abs=1e-5) and (np.diff(alike) <= 0).all()
    assert 0 not in rows and len(made) - 1 not in rows
    longer = replace(made, embedding=np.array(made.embedding) * np.linspace(1, 9, len(made))[:, None])
    np.testing.assert_array_equal(longer.neighbours(0, 4)[0], rows)  # directions, not lengths
    assert made.neighbours(len(made) - 1)[0].size == 0  # it could not be read
    assert len(made.neighbours(0, 100)[0]) == len(made) - 2


def test_the_map_is_deterministic_and_keeps_the_main_axes() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 16)) * ([8, 4] + [0.1] * 14)
    places, shares = project(x)
    np.testing.assert_array_equal(places, project(x.copy())[0])
    assert shares[0] > shares[1] and sum(shares) == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(np.abs(np.corrcoef(places.T, x[:, :2].T)[[0, 1], [2, 3]]), 1, atol=0.01)
    turned, _ = project(x @ np.linalg.qr(rng.normal(size=(16, 16)))[0] + 5)
    np.testing.assert_allclose(
        np.linalg.norm(places[:20] - places[20:40], axis=1),
        np.linalg.norm(turned[:20] - turned[20:40], axis=1),
        rtol=1e-3,
    )


def test_small_cohorts_have_a_map_too(made: Cohort, checkpoint: Checkpoint) -> None:
    places, shares = made.map
    assert np.isnan(places[-1]).all() and np.isfinite(places[:-1]).all() and 0 < shares[0] <= 1
    np.testing.assert_allclose(places[0], places[1], atol=1e-4)  # one ECG, one place
    one = make_cohort(checkpoint, [("a", "a", "torn.", Known())])
    assert np.isnan(one.map[0]).all() and one.top("superdiagnostic").tolist() == [-1]
    assert make_cohort(checkpoint, []).top("superdiagnostic").size == 0
    assert project(np.zeros((1, 8)))[0].tolist() == [[0, 0]]


def test_the_top_label_is_that_of_its_task(made: Cohort) -> None:
    top = made.top("superdiagnostic")
    assert top[-1] == -1 and (top[:-1] == made.probabilities[:-1].argmax(axis=1)).all()


# Pictures


def test_points_of_a_map_are_the_rows_that_are_shown(made: Cohort) -> None:
    places, _ = made.map
    (points,) = _map_data(places, np.array([4, 2, len(made) - 1]), made.novelty, False)
    assert isinstance(points, Points) and points.rows.tolist() == [4, 2]
    np.testing.assert_array_equal(points.x, places[[4, 2], 0])
    groups = _map_data(places, np.arange(len(made)), made.truth[:, made.column(TARGET)], True)
    assert [group.rows.tolist() for group in groups] == [[0], [1], [2, 3, 4, 5, 6]]
    assert len({group.symbol for group in groups}) == 3  # told apart without colours


@pytest.mark.parametrize("dark", [False, True])
def test_the_map_carries_rows_and_no_markup_of_names(made: Cohort, dark: bool) -> None:
    titles = np.array([f"<b>{i}" for i in range(len(made))])
    places, shares = made.map
    figure = plot_cohort_map(
        places,
        shares,
        np.arange(len(made)),
        made.novelty,
        "novelty",
        titles,
        chosen=0,
        near=[1, 2],
        dark=dark,
    )
    points, near, chosen = figure.data
    assert points.type == "scattergl" and points.customdata.tolist() == list(range(len(made) - 1))
    assert points.text[0] == "&lt;b&gt;0"
    assert list(near.text) == ["1", "2"] and near.hoverinfo == chosen.hoverinfo == "skip"
    assert chosen.x[0] == places[0, 0]
    assert all("%" in axis.title.text for axis in (figure.layout.xaxis, figure.layout.yaxis))
    unread = plot_cohort_map(places, shares, np.array([len(made) - 1]), made.novelty, "novelty", titles,
                             chosen=len(made) - 1, dark=dark)  # fmt: skip
    assert len(unread.data) == 1 and not unread.data[0].x.size


def test_every_colour_of_the_map_stands_out_from_the_page() -> None:
    from plotly.colors import hex_to_rgb

    from clear_hug.plots.cohort import _SCALE
    from clear_hug.plots.theme import theme

    def light(colour: str) -> float:
        rgb = np.array(hex_to_rgb(colour)) / 255
        return float(
            np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
        )

    for dark, scale in _SCALE.items():
        page = light(theme(dark).page)
        lights = [light(colour) for _, colour in scale]
        assert lights == sorted(lights, reverse=not dark)
        for one in lights:
            assert (max(one, page) + 0.05) / (min(one, page) + 0.05) >= 3


@pytest.mark.parametrize("dark", [False, True])
def test_a_thumbnail_is_a_picture_within_its_frame(made: Cohort, dark: bool) -> None:
    head, _, text = thumbnail(made.traces[0], dark).partition(",")
    assert head == "data:image/svg+xml;utf8"
    picture = ElementTree.fromstring(text.replace("%23", "#"))
    (line,) = list(picture)
    points = np.array([pair.split(",") for pair in line.attrib["d"][1:].split()], dtype=float)
    assert (np.diff(points[:, 0]) >= 0).all()
    assert points.min() >= 0 and points[:, 0].max() <= float(picture.attrib["width"])
    assert points[:, 1].max() <= float(picture.attrib["height"])
    assert np.ptp(points[:, 1]) > 15


def test_the_same_recording_at_another_rate_is_no_neighbour(made: Cohort) -> None:
    titles = [
        f"ptbxl/records{r}/00000/0000{i}_{tail}" for i in range(4) for r, tail in ((500, "hr"), (100, "lr"))
    ]
    twice = replace(made, titles=np.array(titles))
    assert made.neighbours(0)[0][0] == 1  # the first two are one ECG
    rows, _ = twice.neighbours(0)
    assert sorted({*(rows // 2).tolist()}) == [1, 2, 3] and rows.size == 3  # each recording once
    other = replace(made, titles=np.array(["a/records500/00001_hr", "b/records100/00001_lr", *titles[2:]]))
    assert other.neighbours(0)[0][0] == 1  # of another data set


def test_names_in_a_table_begin_with_what_tells_them_apart(made: Cohort) -> None:
    titles = [
        "records100/00000/00001_lr",
        "records500/00000/00001_hr",
        f"a/{'x' * 40}7",
        "top",
        "simulated: slow, 45/min",
        *"abc",
    ]
    rows = np.arange(8)
    told = table_of(replace(made, titles=np.array(titles)), rows, TARGET)["Record"].tolist()
    assert told[:2] == ["00001_lr · records100/00000", "00001_hr · records500/00000"]
    assert told[2].startswith("… xx") and told[2].endswith("7 · a") and told[3] == "top"
    assert told[4] == "slow, 45/min"  # a sentence, and no path


def test_all_rows_are_exported_in_their_order(made: Cohort, checkpoint: Checkpoint) -> None:
    odd = made.titles.astype("U40")
    odd[1] = '=cmd("x"),y'
    cohort, rows = replace(made, titles=odd), np.array([7, 1, 0])
    lines = cohort_csv(checkpoint, cohort, rows).decode().splitlines()
    head = [line for line in lines if line.startswith("#")]
    assert NOTICE in head[0] and checkpoint.digest in head[2] and head[-1] == "# 3 of 8 records"
    torn, one, other = csv.DictReader(lines[len(head) :])
    assert torn["record"] == "torn" and torn["note"] == "torn holds no ECG." and torn[TARGET] == ""
    assert one["record"].startswith("'=cmd(") and "," not in one["record"] and float(one["age"]) == 41
    for row, told in ((1, one), (0, other)):
        assert float(told[TARGET]) == cohort.probabilities[row, cohort.column(TARGET)]
        called = np.flatnonzero(cohort.probabilities[row] >= cohort.thresholds)
        assert told["called"] == " | ".join(cohort.targets[k] for k in called)
    assert "nan" not in "".join(lines).lower() and "None" not in "".join(lines)


# The page


@pytest.fixture
def cohort_page(checkpoint_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    monkeypatch.setenv("CLEAR_HUG_CHECKPOINT", str(checkpoint_folder))
    monkeypatch.delenv("CLEAR_HUG_DATA", raising=False)

    def opened(folder: Path | None = None, **address: str) -> AppTest:
        if folder:
            monkeypatch.setenv("CLEAR_HUG_DATA", str(folder))
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
        app.switch_page("pages/8_Cohort.py")
        for name, value in address.items():
            app.query_params[name] = value
        return app.run()

    return opened


def said(app: AppTest) -> str:
    shown = [*app.markdown, *app.caption, *app.error, *app.warning]
    return " ".join(str(item.value) for item in shown).replace("\\", "")


def test_without_a_folder_the_page_says_what_to_do(cohort_page: Callable[..., AppTest]) -> None:
    app = cohort_page()
    assert not app.exception and not app.error and not app.warning
    assert "set CLEAR_HUG_DATA to a folder of ECG files" in said(app)
    assert len(app.dataframe[-1].value) == len(BUILT_IN) and len(app.get("plotly_chart")) == 1
    assert "How to read this" in said(app)


def test_a_folder_that_is_not_indexed_offers_it(
    folder: Path, cohort_page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    class Ended:
        def __init__(self, command: list[str], **_: object) -> None:
            started.append(command)

        def poll(self) -> int:
            return 1

    app = cohort_page(folder)
    assert not app.exception and "The 10 records of the folder are not indexed yet." in said(app)
    assert not app.dataframe and not app.get("plotly_chart")
    monkeypatch.setattr(cohort_ui.subprocess, "Popen", Ended)
    app.button(key="cohort_index").click().run()
    assert "Indexing ended before it was done" in said(app) and not app.exception
    assert started[0][1:4] == ["-m", "clear_hug.index", str(folder)]
    app.run()
    assert len(started) == 1  # it is not begun again by itself


@pytest.mark.long
def test_a_cohort_is_sorted_filtered_and_stepped_through(
    folder: Path, checkpoint: Checkpoint, cohort_page: Callable[..., AppTest]
) -> None:
    build(folder, checkpoint)
    path = index_path(folder, checkpoint.digest, "clear")
    cohort = open_cohort(path, list_entries(folder), checkpoint)
    app = cohort_page(folder, target=TARGET, sort="novelty")
    assert not app.exception and not app.error
    assert "Records 1 to 10 of 10" in said(app) and "not indexed" not in said(app)
    order = cohort.order(np.arange(len(cohort)), "novelty", TARGET)
    table = app.dataframe[-1].value
    np.testing.assert_array_equal(table["Novelty"], cohort.novelty[order])
    app.button(key="cohort_Next").click().run()
    app.button(key="cohort_Next").click().run()
    assert app.query_params["record"] in (
        str(cohort.keys[order[1]]),
        [cohort.keys[order[1]]],
    ) and "2 of 10" in said(app)
    assert len(app.dataframe) == 2  # its neighbours beside the map
    called = (cohort.probabilities >= cohort.thresholds)[cohort.read].sum(axis=0)
    column = int(np.flatnonzero(called)[0])  # a label that some record is called for
    app = cohort_page(folder, target=checkpoint.targets[column], called="called")
    assert f"Records 1 to {called[column]} of {called[column]}" in said(app)
    app = cohort_page(folder, target="superdiagnostic/CD", is_known="has it")
    assert "Records 1 to 3 of 3" in said(app)  # every third is premature, one of them flat
    app = cohort_page(folder, sort="none", direction="up", colour="x", sex="?", page="99", is_known="x")
    assert not app.exception and not app.error and "Records 1 to 10 of 10" in said(app)


def test_a_file_that_changed_is_said(
    folder: Path, checkpoint: Checkpoint, cohort_page: Callable[..., AppTest]
) -> None:
    build(folder, checkpoint)
    os.utime(folder / "records100" / "00003_lr.dat", ns=(1, 1))
    assert "1 record is new, changed or not indexed yet." in said(cohort_page(folder))
