"""What fine-tuning does to a batch: nothing is lost, moved or mixed that should not be."""

from dataclasses import replace

import pytest
import torch

from clear_hug.embed import rhythm_in_tents
from clear_hug.train.augment import OF_LEADS, Augmentation, augment, some_leads

NOTHING = Augmentation(
    stretch=99, drop_beat=0, drop_token=0, drop_lead=0, amplitude=0, withhold=0, mix=0,
    premature_wide=0, premature_narrow=0, st_elevation=0, rhythm_holes=0,
)  # fmt: skip
TARGETS = ("superdiagnostic/NORM", "form/PVC", "rhythm/SR")
MIXES = torch.tensor([True, True, False])


def whole(beats):
    return rhythm_in_tents(beats.seconds, beats.there.any(1))


def changed(beats, how, seed=0):
    target = torch.rand(len(beats.units_known), 3, generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(seed)
    return target, *augment(beats, target, TARGETS, MIXES, how, generator)


def test_nothing_asked_is_nothing_changed(random_beats):
    beats = random_beats(4)
    before, after, target, told, rhythm = changed(beats, NOTHING)
    for name in beats.__dataclass_fields__:
        assert torch.equal(getattr(after, name), getattr(beats, name))
    assert torch.equal(before, target) and told.all() and torch.equal(rhythm, whole(beats))


def test_the_same_seed_draws_the_same(random_beats):
    beats = random_beats(4)
    (_, one, *first), (_, two, *second) = (changed(beats, Augmentation()) for _ in range(2))
    for a, b in zip((one.values, one.there, *first), (two.values, two.there, *second), strict=True):
        assert torch.equal(a, b)


def test_a_stretch_is_beats_one_after_another_of_the_record_itself(random_beats):
    beats = random_beats(3)
    n = beats.there.shape[2]
    starts = set()
    for seed in range(12):
        _, after, *_ = changed(beats, replace(NOTHING, stretch=3), seed)
        assert after.there.shape[2] == 3
        for i in range(3):
            first = int((beats.seconds[i] == after.seconds[i, 0]).nonzero()[0])
            starts.add(first)
            for name, axis in (("values", 1), ("there", 1), ("seconds", 0), ("inside", 0)):
                whole, part = getattr(beats, name)[i], getattr(after, name)[i]
                assert torch.equal(whole.narrow(axis, first, 3), part)
    assert {0, n - 3} <= starts  # from the first beat to the last


def test_no_record_is_left_without_a_token(random_beats):
    for seed in range(20):
        how = replace(NOTHING, drop_beat=0.9, drop_token=0.9, drop_lead=1.0)
        _, after, *_ = changed(random_beats(4), how, seed)
        assert after.there.flatten(1).any(1).all()


@pytest.fixture(scope="module")
def mixed(random_beats):
    beats = random_beats(8)
    return beats, *changed(beats, replace(NOTHING, mix=1.0))


def test_mixing_keeps_time_and_voltage_and_what_does_not_mix(mixed):
    beats, before, after, target, *_ = mixed
    assert torch.equal(after.seconds, beats.seconds) and torch.equal(after.units_known, beats.units_known)
    assert not (after.there & ~beats.there).any()
    assert torch.equal(target[:, 2], before[:, 2])
    assert (target[:, :2] != before[:, :2]).any()
    old, there = beats.hide(~after.there).lead_scale()
    new, _ = after.lead_scale()
    ratio = (new / old)[there]
    assert (ratio > 0.4).all() and (ratio < 1.6).all()


def test_mixed_labels_lie_between_those_of_the_two_records_nearer_to_their_own(mixed):
    _, before, _, target, *_ = mixed
    low, high = before.min(0).values, before.max(0).values
    assert ((target >= low - 1e-6) & (target <= high + 1e-6)).all()
    for row in range(len(target)):
        moved = target[row, :2] - before[row, :2]
        others = before[:, :2] - before[row, :2]
        parallel = (moved[0] * others[:, 1] - moved[1] * others[:, 0]).abs() < 1e-5
        within = moved.norm() <= 0.5 * others.norm(dim=1) + 1e-5
        along = (others @ moved) >= -1e-5
        assert (parallel & within & along).any()  # one other record and a share up to a half explain it


def test_the_rhythm_stays_that_of_the_whole_record_unless_one_is_planted(random_beats):
    beats = random_beats(4, beats=9)
    _, after, _, _, rhythm = changed(beats, replace(NOTHING, drop_beat=0.9, stretch=5, mix=1.0))
    assert torch.equal(rhythm, whole(beats)) and not torch.equal(rhythm, whole(after))
    _, after, _, _, rhythm = changed(beats, replace(NOTHING, drop_beat=0.3, rhythm_holes=1.0))
    assert torch.equal(rhythm.nan_to_num(9), whole(after).nan_to_num(9))
    _, after, _, _, rhythm = changed(beats, replace(NOTHING, stretch=5, premature_wide=1.0))
    moved = (rhythm != whole(beats)).any(1)
    assert moved.any() and torch.equal(rhythm[moved], whole(after)[moved])


def test_some_leads_are_left_out_and_some_stay():
    there = torch.rand(200, 12, generator=torch.Generator().manual_seed(0)) < 0.5
    there[0] = False
    there[0, 3] = True
    gone = some_leads(there, torch.rand(200, OF_LEADS, generator=torch.Generator().manual_seed(1)))
    left = there & ~gone
    several = there.sum(1) > 1
    assert not (gone & ~there).any() and not gone[0].any()
    assert left.any(1)[several].all() and gone.any(1)[several].all()
    assert {1, 5} <= set(gone.sum(1).tolist()) and gone.any(0).all()
