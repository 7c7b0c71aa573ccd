"""What a record tells beside its waves: intervals that are known, and a rhythm that is read from no other."""

import pytest
import torch

from clear_hug.embed import N_NUMBERS, N_RHYTHM, TENTS, Rhythm, Timing, rhythm_in_tents


def test_rr_intervals_that_touch_a_beat_left_out_are_unknown():
    torch.manual_seed(0)
    timing = Timing(16)
    seconds = torch.tensor([[0.5, 1.3, 2.0, 2.9, 3.6]])
    moved = seconds.clone()
    moved[0, 2] = 2.2
    whole = torch.ones(1, 5, dtype=torch.bool)
    without = whole.clone()
    without[0, 2] = False
    others = [0, 1, 3, 4]
    assert torch.equal(timing(seconds, without)[:, others], timing(moved, without)[:, others])
    differs = (timing(seconds, whole) != timing(moved, whole)).any(-1)[0]
    assert differs.tolist() == [False, True, True, True, False]
    # the beats around the gap know one interval each, not the sum of two
    ends = timing(seconds[:, 3:], whole[:, 3:])
    torch.testing.assert_close(timing(seconds, without)[:, 3:], ends)


@pytest.fixture(scope="module")
def rhythm():
    torch.manual_seed(0)
    module = Rhythm(16)
    return lambda seconds, there=None: module(
        torch.tensor([seconds]),
        torch.ones(1, len(seconds), dtype=torch.bool) if there is None else torch.tensor([there]),
    )[0]


def test_rhythm_follows_intervals_and_not_when_the_recording_began(rhythm):
    plain = rhythm([0.5, 1.3, 2.1, 3.4])
    torch.testing.assert_close(rhythm([3.5, 4.3, 5.1, 6.4]), plain)
    for other in ([0.5, 1.1, 1.7, 2.7], [0.5, 1.5, 2.5, 3.4]):  # faster; more regular
        assert (rhythm(other) - plain).abs().max() > 1e-3


def test_rhythm_bridges_no_beat_left_out_and_one_beat_has_none(rhythm):
    left_out = rhythm([0.5, 1.3, 99.0, 2.9, 3.7], [True, True, False, True, True])
    torch.testing.assert_close(left_out, rhythm([0.5, 1.3, 7.0, 2.9, 3.7], [True, True, False, True, True]))
    assert (left_out - rhythm([0.5, 1.3, 2.9, 3.7])).abs().max() > 1e-3  # no interval of 1.6 s
    torch.testing.assert_close(rhythm([0.5]), rhythm([8.0]))


def test_tents_tell_how_near_each_number_of_the_rhythm_lies():
    generator = torch.Generator().manual_seed(0)
    rr = 0.4 + torch.rand(50, 9, generator=generator)
    told = rhythm_in_tents(rr.cumsum(1), torch.ones(50, 9, dtype=torch.bool))
    assert told.shape == (50, N_RHYTHM)
    number, near = told[:, :N_NUMBERS], told[:, N_NUMBERS:].view(50, N_NUMBERS, len(TENTS))
    assert (near >= 0).all()
    torch.testing.assert_close(near.sum(2), torch.ones(50, N_NUMBERS))
    inside = number.clamp(TENTS[0], TENTS[-1])
    torch.testing.assert_close((near * torch.tensor(TENTS)).sum(2), inside, atol=1e-5, rtol=1e-5)


def test_what_is_not_known_of_a_rhythm_is_not_told():
    seconds = torch.tensor([[0.5, 1.3, 2.0]])
    one, two = (torch.tensor([[k < n for k in range(3)]]) for n in (1, 2))
    assert rhythm_in_tents(seconds, one).isnan().all()
    told = rhythm_in_tents(seconds, two)[0]
    near = told[N_NUMBERS:].view(N_NUMBERS, len(TENTS))
    for part in (told[:N_NUMBERS], near):  # a rate, and no irregularity of one interval
        assert part[0].isfinite().all() and part[1:].isnan().all()
