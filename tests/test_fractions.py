from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clear_hug.train.fractions import label_fraction


@pytest.fixture(scope="module")
def labelled() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """3,000 rows of about 1,500 patients with labels from common to rare: rows, labels, patients."""
    rng = np.random.default_rng(0)
    labels = (rng.random((3000, 5)) < [0.5, 0.2, 0.05, 0.01, 0.003]).astype(np.float32)
    patients = np.array([f"p{i}" for i in rng.integers(0, 1500, 3000)])
    return np.arange(100, 3100), labels, patients


@pytest.mark.parametrize("stratified", [True, False])
def test_a_label_fraction_is_whole_patients_nested_and_by_seed(labelled: Any, stratified: bool) -> None:
    rows, labels, patients = labelled

    def draw(fraction: float, seed: int = 0) -> np.ndarray:
        return label_fraction(rows, labels, patients, fraction, seed, stratified)

    one, ten, all_rows = (draw(fraction) for fraction in (0.01, 0.1, 1.0))
    assert list(all_rows) == list(rows) and set(one) < set(ten)
    assert 30 <= len(one) <= 40 and 300 <= len(ten) <= 310
    assert list(draw(0.1)) == list(ten) and set(draw(0.1, seed=1)) != set(ten)
    assert list(ten) == sorted(ten)
    inside = np.isin(rows, ten)
    assert not set(patients[inside]) & set(patients[~inside])


def test_a_stratified_fraction_has_every_label_and_its_share(labelled: Any) -> None:
    rows, labels, patients = labelled
    for seed in range(5):
        for fraction in (0.01, 0.1):
            drawn = np.isin(rows, label_fraction(rows, labels, patients, fraction, seed))
            assert (labels[drawn].sum(axis=0) > 0).all()
        share = labels[drawn].mean(axis=0) / labels.mean(axis=0)
        assert (np.abs(share[:2] - 1) < 0.25).all()
    with pytest.raises(ValueError, match="fraction"):
        label_fraction(rows, labels, patients, 0)
