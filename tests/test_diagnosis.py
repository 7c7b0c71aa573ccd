"""From tokens to labels: windows, absence, calibration, device and its fallback."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from clear_hug.beats import split_windows, tokenize_beats
from clear_hug.checkpoint import Checkpoint
from clear_hug.diagnosis import (
    check_hidden,
    collate,
    diagnose,
    hide,
    pick_device,
    precision,
    probabilities,
    run,
)
from clear_hug.explain import explain
from clear_hug.reconstruct import reconstruct
from clear_hug.tasks import TASKS

CPU = torch.device("cpu")
MODULE = sys.modules["clear_hug.diagnosis"]
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def some(tokens, seed=0, share=0.3):
    return np.random.default_rng(seed).random(tokens.valid.shape) < share


def test_one_row_a_label(checkpoint, tokens):
    d = diagnose(checkpoint, tokens, device=CPU)
    n = len(TASKS["superdiagnostic"].labels)
    assert d.labels == TASKS["superdiagnostic"].labels and d.tasks == ("superdiagnostic",) * n
    for row in (d.logits, d.probabilities, d.thresholds, d.called):
        assert row.shape == (n,)
    assert (d.model, d.device, d.note) == ("tiny", "cpu", "") and d.seconds > 0
    with pytest.raises(ValueError, match="read-only"):
        d.thresholds[0] = 1


def test_probabilities_are_the_calibrated_logits_and_call_at_the_threshold(checkpoint, tokens):
    d = diagnose(checkpoint, tokens)
    for i, (slope, intercept) in enumerate(checkpoint.platt):
        assert d.probabilities[i] == pytest.approx(1 / (1 + np.exp(-(slope * d.logits[i] + intercept))))
    at = replace(d, thresholds=d.probabilities)
    above = replace(d, thresholds=np.nextafter(d.probabilities, 2))
    assert at.called.all() and not above.called.any()


def test_the_wildest_logit_has_a_probability(checkpoint):
    n = len(checkpoint.platt)
    wild = np.stack([np.full(n, -1e4), np.full(n, 1e4)])
    np.testing.assert_array_equal(probabilities(checkpoint, wild), [[0] * n, [1] * n])


def test_the_same_record_gives_the_same_bits(checkpoint, tokens, tokens_of):
    for record in (tokens, tokens_of("long")):
        first, second = (diagnose(checkpoint, record, device=CPU) for _ in range(2))
        np.testing.assert_array_equal(first.window_logits, second.window_logits)


def test_many_users_at_once_get_what_one_gets(checkpoint, tokens_of):
    records = [tokens_of(kind) for kind in ("normal", "lead_off", "long", "tachycardia")] * 4
    alone = [diagnose(checkpoint, record, device=CPU).logits for record in records]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda record: diagnose(checkpoint, record, device=CPU).logits, records))
    np.testing.assert_array_equal(alone, together)


# --- windows ------------------------------------------------------------------------------------


def test_a_long_record_is_the_mean_of_its_windows_each_visible(checkpoint, tokens_of):
    tokens = tokens_of("long")
    d = diagnose(checkpoint, tokens, device=CPU)
    assert d.window_spans.tolist() == [[0, 10], [10, 20], [20, 30]]
    np.testing.assert_allclose(d.logits, d.window_logits.mean(axis=0), atol=1e-6)
    assert np.ptp(d.window_logits, axis=0).max() > 1e-3
    for window, logits in zip(split_windows(tokens), d.window_logits, strict=True):
        part, start = window.tokens, window.start
        alone = replace(part, r_peaks=part.r_peaks - start, windows=part.windows - start, duration=10.0)
        np.testing.assert_allclose(diagnose(checkpoint, alone, device=CPU).logits, logits, atol=1e-5)


def test_batches_of_windows_do_not_matter(checkpoint, tokens_of, monkeypatch):
    tokens = tokens_of("long")
    hidden = np.zeros_like(tokens.valid)
    hidden[2, ::2] = True
    wide = diagnose(checkpoint, tokens, hidden, CPU), reconstruct(checkpoint, tokens, hidden, CPU)
    for name in ("diagnosis", "reconstruct"):
        monkeypatch.setattr(sys.modules[f"clear_hug.{name}"], "BATCH", 1)
    np.testing.assert_allclose(diagnose(checkpoint, tokens, hidden, CPU).logits, wide[0].logits, atol=1e-5)
    np.testing.assert_allclose(reconstruct(checkpoint, tokens, hidden, CPU).values, wide[1].values, atol=1e-4)


# --- absence ------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [10.0, np.nan, np.inf])
def test_samples_of_hidden_tokens_change_no_bit(checkpoint, tokens, factor):
    hidden = some(tokens)
    with np.errstate(invalid="ignore"):
        values = np.where(hidden[..., None], tokens.values * np.float32(factor), tokens.values)
    before = diagnose(checkpoint, tokens, hidden, CPU).logits
    after = diagnose(checkpoint, replace(tokens, values=values), hidden, CPU).logits
    np.testing.assert_array_equal(before, after)
    assert np.isfinite(before).all()
    assert np.abs(diagnose(checkpoint, tokens, device=CPU).logits - before).max() > 1e-3


def test_hiding_a_token_is_the_same_as_not_having_it(checkpoint, tokens):
    hidden = some(tokens)
    without = replace(tokens, valid=tokens.valid & ~hidden)
    np.testing.assert_array_equal(
        diagnose(checkpoint, tokens, hidden, CPU).logits, diagnose(checkpoint, without, device=CPU).logits
    )


def test_with_everything_hidden_the_answer_is_v_empty(checkpoint, tokens):
    d = diagnose(checkpoint, tokens, np.ones_like(tokens.valid), CPU)
    np.testing.assert_allclose(d.logits, checkpoint.model.hug.bias(), atol=1e-5)


def test_a_record_without_any_token_is_v_empty_too(checkpoint, tokens, tokens_of):
    for record in (tokens, tokens_of("long")):
        d = diagnose(checkpoint, replace(record, valid=np.zeros_like(record.valid)), device=CPU)
        np.testing.assert_allclose(d.logits, checkpoint.model.hug.bias(), atol=1e-5)


def test_hidden_of_another_shape_is_refused_in_words(checkpoint, tokens):
    with pytest.raises(ValueError, match=r"hidden has shape \(12, 3\); expected \(12, beat\)"):
        diagnose(checkpoint, tokens, np.zeros((12, 3), bool))
    assert not check_hidden(tokens, None).any()


def test_voltage_counts_where_it_is_known(checkpoint, simulated):
    ecg = simulated("normal")
    louder = replace(ecg, signal=ecg.signal * np.float32(10))

    def logits(record, known):
        return diagnose(checkpoint, tokenize_beats(replace(record, units_known=known)), device=CPU).logits

    assert np.abs(logits(ecg, True) - logits(louder, True)).max() > 1e-2
    np.testing.assert_allclose(logits(ecg, False), logits(louder, False), atol=1e-3)


def test_the_lead_scale_of_the_model_is_that_of_the_tokens(tokens_of):
    for kind in ("normal", "lead_off", "long"):
        windows = split_windows(tokens_of(kind))
        scale, there = collate(windows).lead_scale()
        for row, window in enumerate(windows):
            np.testing.assert_array_equal(there[row], window.tokens.present)
            expected = np.where(window.tokens.present, window.tokens.lead_scale, 1)
            np.testing.assert_allclose(scale[row], expected, rtol=1e-4)


def test_the_lead_scale_is_taken_anew_when_tokens_are_hidden(tokens):
    hidden = some(tokens)
    scale, there = hide(split_windows(tokens), hidden).lead_scale()
    for lead in np.flatnonzero(there[0]):
        visible = (tokens.valid & ~hidden)[lead][:, None] & tokens.inside
        assert float(scale[0, lead]) == pytest.approx(tokens.values[lead][visible].std(), rel=1e-4)
    assert not np.allclose(scale[0], tokens.lead_scale, rtol=1e-4)


# --- devices ------------------------------------------------------------------------------------


def test_where_there_is_no_gpu_the_cpu_is_picked(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device() == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device().type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device().type == "cuda"


def out_of_memory(monkeypatch, checkpoint):
    """A GPU that is there, takes the model, and runs out of memory at the first batch."""
    seen = []

    def on(model, device):
        seen.append(device.type)
        return model

    def fail(self, device):
        if torch.device(device).type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self

    monkeypatch.setattr(MODULE, "ready", on)
    monkeypatch.setattr(MODULE, "pick_device", lambda: torch.device("cuda"))
    monkeypatch.setattr("clear_hug.model.Beats.to", fail)
    return seen


def test_out_of_gpu_memory_the_cpu_does_it_and_says_so(checkpoint, tokens, monkeypatch):
    hidden = some(tokens)
    expected = diagnose(checkpoint, tokens, hidden, CPU)
    rebuilt = reconstruct(checkpoint, tokens, hidden, CPU)
    why = explain(checkpoint, tokens, "MI", hidden=hidden, device=CPU)
    seen = out_of_memory(monkeypatch, checkpoint)
    d, r, e = (
        diagnose(checkpoint, tokens, hidden),
        reconstruct(checkpoint, tokens, hidden),
        explain(checkpoint, tokens, "MI", hidden=hidden),
    )
    assert seen == ["cuda", "cpu"] * 3
    for value in (d, r, e):
        assert value.device == "cpu"
        assert value.note == "The cuda ran out of memory; this was computed on the CPU."
    np.testing.assert_array_equal(d.logits, expected.logits)
    np.testing.assert_array_equal(r.values, rebuilt.values)
    np.testing.assert_array_equal(e.values, why.values)


def test_out_of_memory_on_the_cpu_is_an_error(checkpoint):
    def work(model, device):
        raise torch.OutOfMemoryError("no more")

    with pytest.raises(torch.OutOfMemoryError):
        run(checkpoint, work, CPU)


@pytest.mark.parametrize("able", [True, False])
def test_bf16_is_for_large_models_on_hardware_that_computes_it(checkpoint, monkeypatch, able):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": able})
    large = torch.nn.Linear(10_000, 1_001)
    with precision(large, CPU):
        assert torch.is_autocast_enabled("cpu") is able
    with precision(checkpoint.model, CPU):
        assert not torch.is_autocast_enabled("cpu")


def test_explanation_and_diagnosis_agree_in_bf16(checkpoint, tokens, monkeypatch):
    """As for the base preset: the encoder in bf16, HUG exact."""
    fp32 = diagnose(checkpoint, tokens, device=CPU)
    monkeypatch.setattr(MODULE, "BF16_PAYS", 0)
    monkeypatch.setattr(MODULE, "computes_bf16", lambda device: True)
    d = diagnose(checkpoint, tokens, device=CPU)
    assert not np.array_equal(d.logits, fp32.logits)
    for row, label in enumerate(d.labels):
        why = explain(checkpoint, tokens, label, device=CPU)
        assert why.logit == pytest.approx(d.logits[row], abs=1e-5)
        assert abs(why.residual) < 1e-5


@GPU
def test_the_gpu_answers_as_the_cpu_does(random_model, tokens_of):
    task = TASKS["superdiagnostic"]
    n = len(task.labels)
    small = Checkpoint(random_model("small", n), "x", (task,), np.tile([1.0, 0.0], (n, 1)), np.full(n, 0.5))
    gpu = torch.device("cuda")
    for kind in ("normal", "lead_off", "long"):
        tokens = tokens_of(kind)
        hidden = some(tokens)
        torch.cuda.reset_peak_memory_stats()
        d, e, r = (
            [f(small, tokens, *args, device=where) for where in (CPU, gpu)]
            for f, args in ((diagnose, ()), (explain, ("MI",)), (reconstruct, (hidden,)))
        )
        assert torch.cuda.max_memory_allocated() < 2**30
        assert d[1].device == e[1].device == r[1].device == "cuda" and not d[1].note
        np.testing.assert_allclose(d[1].logits, d[0].logits, atol=1e-3)
        np.testing.assert_allclose(e[1].values, e[0].values, atol=1e-3)
        np.testing.assert_allclose(r[1].values, r[0].values, atol=1e-3 * np.nanmax(tokens.lead_scale))


@GPU
def test_a_copy_on_the_gpu_is_made_once(checkpoint):
    gpu = torch.device("cuda")
    assert MODULE.ready(checkpoint.model, gpu) is MODULE.ready(checkpoint.model, gpu)
    assert next(checkpoint.model.parameters()).device.type == "cpu"
