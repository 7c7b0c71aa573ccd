"""Planted changes: one beat or one segment, labels that follow, everything else as it was."""

import numpy as np
import pytest
import torch

from clear_hug.batch import Beats
from clear_hug.beats import split_windows
from clear_hug.diagnosis import collate
from clear_hug.leads import LEADS
from clear_hug.tasks import TASKS
from clear_hug.train.plant import NARROW, SAYS, ST, TERRITORIES, TYPICAL, WIDE, plant

TARGETS = ("superdiagnostic/NORM", "superdiagnostic/MI", "superdiagnostic/CD", "form/PVC", "form/PAC",
           "form/STE_", "rhythm/SR")  # fmt: skip
CHANGES, BEATS = [WIDE, NARROW, ST], [WIDE, NARROW]


@pytest.fixture(scope="module")
def batch(tokens_of):
    return collate([split_windows(tokens_of("normal", seed))[0] for seed in range(6)])


def planted(batch, name, share=1.0, seed=0):
    before = torch.tensor([1.0, 0, 0, 0, 0, 0, 1.0]).expand(len(batch.units_known), -1)
    return before, *plant(batch, before, TARGETS, {name: share}, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", CHANGES)
def test_the_same_seed_plants_the_same_and_the_batch_given_stays(batch, name):
    kept = {field: getattr(batch, field).clone() for field in Beats.__dataclass_fields__}
    (_, one, labels), (_, two, again) = planted(batch, name), planted(batch, name)
    _, other, _ = planted(batch, name, seed=1)
    for field in Beats.__dataclass_fields__:
        assert torch.equal(getattr(one, field), getattr(two, field))
        assert torch.equal(getattr(batch, field), kept[field])
    assert torch.equal(labels.nan_to_num(9), again.nan_to_num(9))
    assert not torch.equal(one.values, other.values)


@pytest.mark.parametrize("name", CHANGES)
def test_labels_say_what_was_planted_and_nothing_that_does_not_follow(batch, name):
    before, _, after = planted(batch, name)
    for column, target in enumerate(TARGETS):
        task, label = target.split("/")
        says, now = SAYS[task][name], after[:, column]
        if label in says.holds:
            assert (now == 1).all()
        elif label in says.not_so:
            assert (now == 0).all()
        elif label in says.leaves_open:
            assert now.isnan().all()
        else:
            assert torch.equal(now, before[:, column])


MEANT = {WIDE: {"PVC", "VPB"}, NARROW: {"PAC", "APB"}, ST: {"STE_", "STE", "STTU"}}


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.parametrize("name", CHANGES)
def test_every_label_set_says_what_is_planted(batch, task, name):
    """No record with a planted change is taught as one without, whatever the data set calls it."""
    labels = TASKS[task].labels
    targets, before = tuple(f"{task}/{label}" for label in labels), torch.zeros(6, len(labels))
    if "NORM" in labels or "SNR" in labels:
        before[:, labels.index("NORM" if "NORM" in labels else "SNR")] = 1
    _, after = plant(batch, before, targets, {name: 1.0}, torch.Generator().manual_seed(0))
    said = {label for k, label in enumerate(labels) if (after[:, k] == 1).all()}
    meant = {"STTU"} if (task, name) == ("csn", ST) else MEANT[name]  # its "STE" is ST extension
    assert said - {"NORM", "SNR"} == meant & set(labels)
    if name == ST or task == "cpsc2018":
        assert not said & {"NORM", "SNR"}
    known = set(labels)
    for says in SAYS[task].values():
        assert {*says.holds, *says.not_so, *says.leaves_open} <= known


def test_st_elevation_leaves_infarction_open():
    for task, label in (("all", "IMI"), ("diagnostic", "ASMI"), ("subdiagnostic", "NST_"), ("csn", "MI")):
        assert label in SAYS[task][ST].leaves_open
    assert "LVH" not in SAYS["all"][ST].leaves_open


@pytest.mark.parametrize("name", BEATS)
def test_one_beat_comes_early_and_time_still_runs_forward(batch, name):
    _, after, _ = planted(batch, name)
    for i in range(len(after.units_known)):
        rr, was = after.seconds[i].diff(), batch.seconds[i].diff()
        assert (rr > 0.3).all()
        early = int((rr / was).argmin())
        assert 0.5 < rr[early] / was[early] < 0.85
        others = [k for k in range(len(rr)) if k not in (early, early + 1)]
        np.testing.assert_allclose(rr[others], was[others], atol=1e-5)


def test_a_wide_beat_is_wide_in_all_leads_and_its_neighbours_are_only_cut(batch):
    _, after, _ = planted(batch, "premature wide beat")
    changed = (after.values != batch.values).any(-1).any(1)
    for i in range(len(after.units_known)):
        which = int((after.seconds[i] - batch.seconds[i]).abs().argmax())
        assert set(changed[i].nonzero()[:, 0].tolist()) <= {which - 1, which}
        cut = after.values[i, :, which - 1]
        inside = after.inside[i, which - 1]
        assert torch.equal(cut[:, inside], batch.values[i, :, which - 1][:, inside])
        assert (cut[:, ~inside] == 0).all() and (
            after.values[i, :, which][:, ~after.inside[i, which]] == 0
        ).all()
        steep = after.values[i, :, which].diff(dim=-1).abs().amax(0)
        usual = batch.values[i, :, which - 1].diff(dim=-1).abs().amax(0)

        def width(x):
            return int((x > 0.15 * x.max()).nonzero()[:, 0].diff().numel())

        assert width(steep[28:68]) > width(usual[28:68])


def test_st_rises_in_the_leads_of_one_wall_in_every_beat_alike(batch):
    _, after, _ = planted(batch, "ST elevation")
    assert torch.equal(after.seconds, batch.seconds)
    moved = (after.values - batch.values)[..., 48 + 10 : 48 + 14].mean(-1)  # (batch, lead, beat) mV
    for i in range(len(after.units_known)):
        by_lead = moved[i].mean(1)
        assert moved[i].std(1).max() < 0.02
        walls = [sum(by_lead[LEADS.index(lead)] for lead in wall) / len(wall) for wall in TERRITORIES]
        assert max(walls) > 0.06
        np.testing.assert_allclose(by_lead[1], by_lead[0] + by_lead[2], atol=1e-4)  # Einthoven


def test_without_voltage_the_change_is_as_large_as_the_record(batch):
    blind = Beats(
        5 * batch.values, batch.there, batch.seconds, batch.inside, torch.zeros_like(batch.units_known)
    )
    scale, _ = batch.lead_scale()
    _, seen, _ = planted(batch, "ST elevation")
    _, unseen, _ = planted(blind, "ST elevation")
    ratio = scale / torch.tensor(TYPICAL)
    want = (seen.values - batch.values) * ratio[..., None, None] * 5
    np.testing.assert_allclose(unseen.values - blind.values, want, atol=1e-4)


def test_about_the_share_that_is_asked_is_changed_and_a_record_of_one_beat_is_left(batch, tokens_of):
    changed = 0
    for seed in range(40):
        _, after, labels = planted(batch, "premature wide beat", 0.3, seed)
        changed += int(labels[:, TARGETS.index("form/PVC")].sum())
        rows = (after.seconds != batch.seconds).any(1)
        assert torch.equal(rows, labels[:, TARGETS.index("form/PVC")] == 1)
    assert 40 < changed < 105  # of 240
    lone = Beats(**{f: getattr(batch, f) for f in Beats.__dataclass_fields__}).hide(
        torch.arange(batch.there.shape[2]).expand_as(batch.there) > 0
    )
    before, after, labels = planted(lone, "premature wide beat")
    assert torch.equal(labels, before) and torch.equal(after.values, lone.values)
