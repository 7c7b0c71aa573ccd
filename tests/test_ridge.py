"""Ridge regression on lead tokens finds the best answer; its mean with HUG stays affine and complete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clear_hug.model import CLEARHUG
from clear_hug.tasks import TASKS
from clear_hug.train.corpus import Corpus
from clear_hug.train.metrics import auroc
from clear_hug.train.ridge import OF_RHYTHM, RIDGE, average_with_ridge, regress


def some(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tokens, rhythm = (torch.randn(80, n, generator=generator) for n in (24, 6))
    truth = tokens[:, :3] + rhythm[:, :3] + torch.randn(80, 3, generator=generator)
    return tokens, rhythm, (truth > 0.5).float()


@pytest.mark.long
def test_the_regression_stands_at_the_bottom_of_its_loss() -> None:
    tokens, rhythm, labels = some()
    found = [part.double().requires_grad_() for part in regress(tokens, rhythm, labels)]
    weights, of_rhythm, bias = found
    logits = tokens.double() @ weights + rhythm.double() @ of_rhythm + bias
    loss = F.binary_cross_entropy_with_logits(logits, labels.double(), reduction="sum")
    variance = tokens.double().var(0, correction=0).sum()
    loss = loss + RIDGE * variance * weights.square().sum() + OF_RHYTHM * of_rhythm.square().sum()
    loss.backward()
    start = (labels.mean(0) - labels).T.double() @ tokens.double()
    for part in found:
        assert part.grad.abs().max() < 1e-3 * start.abs().max()


def test_the_unit_of_the_tokens_is_of_no_consequence() -> None:
    tokens, rhythm, labels = some()
    plain, scaled = regress(tokens, rhythm, labels), regress(40 * tokens, rhythm, labels)
    torch.testing.assert_close(40 * scaled[0], plain[0], atol=1e-3, rtol=1e-2)
    torch.testing.assert_close(scaled[2], plain[2], atol=1e-3, rtol=1e-2)


def test_a_label_that_no_record_has_is_thought_rare_and_no_error() -> None:
    tokens, rhythm, labels = some()
    labels[:, 1] = 0
    weights, _, bias = regress(tokens, rhythm, labels)
    assert weights.isfinite().all() and bias[1] < -4


def test_the_mean_lies_half_way_and_its_contributions_are_complete(
    random_model: Callable[..., CLEARHUG], corpus: Path
) -> None:
    data, task = Corpus(corpus), TASKS["superdiagnostic"]
    rows = np.flatnonzero(data.labelled_for([task]))
    labels = data.labels([task], rows)
    has = torch.from_numpy(labels.any(axis=0))
    assert has.any() and not has.all()
    models = {share: random_model() for share in (0.0, 0.5, 1.0)}
    for share, model in models.items():
        model.hug.voltage.zero_()  # weighed afterwards
        average_with_ridge(model, data, rows, labels, share)
    beats = data.beats(rows)
    with torch.no_grad():
        said = {share: model(beats) for share, model in models.items()}
        torch.testing.assert_close(said[0.5], (said[0.0] + said[1.0]) / 2, atol=1e-4, rtol=1e-4)
        # a label that no record has stays as HUG knows it
        assert ((said[0.0] - said[1.0]).abs().amax(0) > 0.1).tolist() == has.tolist()
        torch.testing.assert_close(said[0.0][:, ~has], said[1.0][:, ~has])
        hug, encoded = models[0.5].hug, models[0.5].encode(beats)
        bias, parts = hug.decompose(encoded.lead_tokens, encoded.lead_there)
    torch.testing.assert_close(bias + parts.sum((1, 2)), said[0.5], atol=1e-4, rtol=0)
    # by itself the regression knows the records that it has seen
    some = labels.any(axis=1)
    for truth, logit in zip(labels[some].T, said[1.0][torch.from_numpy(some)].T, strict=True):
        if 0 < truth.sum() < len(truth):
            assert auroc(logit.numpy()[:, None], truth[:, None])[0] > 0.8
