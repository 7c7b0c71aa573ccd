"""QTc from beat tokens: where the T wave ends, whatever the unit, the rate, the windows and odd beats."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import clear_hug as ch
from clear_hug.batch import Beats
from clear_hug.beats import split_windows
from clear_hug.diagnosis import collate
from clear_hug.leads import N_LEADS
from clear_hug.qt import LONG, ONSET, qtc
from tests.hidden_tokens import pad

WIDTH = 0.035  # s, of the bell of a T wave; its tangent meets the level two widths after its top
AT = (torch.arange(96) - 48) / 100


def with_t_waves(top, rr=0.8, n=8, t=0.3, qrs=0.012, shift=0.0):
    """Beats of a spike and a T wave whose top stands `top` s after the R peak, in windows that meet half way.

    t : height of the T wave against the QRS complex's; shift : of the base line
    """
    near = torch.stack([AT - k * rr for k in (-1, 0, 1)])  # the beats around reach into a token
    beat = torch.exp(-((near / qrs) ** 2)) + t * torch.exp(-(((near - top) / WIDTH) ** 2) / 2)
    size = torch.linspace(-1.0, 1.5, N_LEADS)[:, None, None]
    values = (size * beat.sum(0) + shift).expand(N_LEADS, n, 96)[None].contiguous()
    inside = ((-rr / 2 <= AT) & (rr / 2 > AT)).expand(1, n, 96)
    there = torch.ones(1, N_LEADS, n, dtype=torch.bool)
    return Beats(values, there, rr * torch.arange(n)[None], inside, torch.ones(1, dtype=torch.bool))


def expected(top, rr):
    return (ONSET + top + 2 * WIDTH) / rr**0.5


@pytest.mark.parametrize(
    ("rr", "tops"), [(0.6, (0.2, 0.22)), (0.8, (0.2, 0.3)), (1.2, (0.25, 0.38)), (1.5, (0.3, 0.38))]
)
def test_it_follows_the_t_wave_and_the_rate(rr, tops):
    for top in tops:
        assert float(qtc(with_t_waves(top, rr))) == pytest.approx(expected(top, rr), abs=0.012)


def test_it_asks_for_no_unit_no_base_line_and_no_upright_t_wave():
    beats = with_t_waves(0.24)
    own = qtc(beats)
    gain = torch.linspace(0.2, 30.0, N_LEADS)[:, None, None]
    torch.testing.assert_close(qtc(replace(beats, values=beats.values * gain)), own)
    torch.testing.assert_close(qtc(pad(beats, 3)), own)
    for changed in (with_t_waves(0.24, t=-0.3), with_t_waves(0.24, shift=0.1), with_t_waves(0.24, t=0.1)):
        torch.testing.assert_close(qtc(changed), own, atol=0.012, rtol=0)
    some = torch.zeros_like(beats.there)
    some[:, 4:9] = True
    torch.testing.assert_close(qtc(beats.hide(some)), own, atol=0.005, rtol=0)


def test_a_few_beats_of_another_shape_change_little():
    beats = with_t_waves(0.24)
    values = beats.values.clone()
    values[:, :, [1, 4]] = 3 * torch.exp(-(((AT - 0.05) / 0.08) ** 2)) - 2 * torch.exp(
        -(((AT - 0.33) / 0.06) ** 2)
    )
    torch.testing.assert_close(qtc(replace(beats, values=values)), qtc(beats), atol=0.012, rtol=0)


def test_what_is_not_known_is_not_told():
    beats = with_t_waves(0.24)
    others = torch.ones_like(beats.there)
    others[:, :, 2] = False
    assert qtc(beats.hide(others)).isnan().all(), "one beat has no interval"
    others[:, :, 5] = False
    assert qtc(beats.hide(others)).isnan().all(), "two beats, and between them those that are not there"
    assert qtc(beats.hide(torch.ones_like(beats.there))).isnan().all()
    assert qtc(with_t_waves(0.24, t=0.0)).isnan().all(), "no T wave"
    assert qtc(with_t_waves(0.1, 0.3)).isnan().all(), "200/min"
    assert qtc(with_t_waves(0.48, 2.0)).isnan().all(), "its end lies beyond the token, and may be usual"


def test_a_long_one_is_told_although_its_end_is_not_seen():
    found = float(qtc(with_t_waves(0.46, 1.0)))
    assert LONG < found <= expected(0.46, 1.0)


def test_a_wide_qrs_complex_does_not_make_it_long():
    narrow, wide = float(qtc(with_t_waves(0.28))), float(qtc(with_t_waves(0.28 + 0.04, qrs=0.05)))
    assert wide == pytest.approx(narrow, abs=0.035) and wide < expected(0.28 + 0.04, 0.8) - 0.02


@pytest.mark.parametrize("rate", [40.0, 50.0, 60.0, 75.0, 90.0, 110.0, 130.0])
def test_it_is_near_that_of_the_whole_record(rate):
    for how in ({}, {"n_pvc": 2}):
        ecg = ch.simulate_ecg("normal", heart_rate=rate, **how)
        beats = collate(split_windows(ch.tokenize_beats(ecg)))
        assert float(qtc(beats)) == pytest.approx(ch.measure(ecg).qtc_bazett / 1000, abs=0.025)


def test_numbers_that_are_none_are_no_interval():
    beats = with_t_waves(0.24)
    assert not qtc(replace(beats, seconds=torch.zeros_like(beats.seconds))).isfinite().any()
    for strange in (np.nan, np.inf):
        values = beats.values.clone()
        values[:, 3] = strange
        assert not qtc(replace(beats, values=values)).isinf().any()
