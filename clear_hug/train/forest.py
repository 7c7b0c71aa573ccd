"""A forest over measured waves: a baseline that reads what a reader of ECGs measures, and a teacher.

It sees no trace: of each lead's mean beat how deep, tall and long Q, R, S, ST, T and P are, over the lead's
scale; the rhythm; the intervals of `measure`. Rare labels count as much as common ones.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit

from clear_hug.embed import rhythm
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.intervals import measured
from clear_hug.train.metrics import fit_platt

TREES = 150
LEAF = 3  # records in a leaf, at least
SHARE = 0.3  # of the numbers that a split chooses from
PARTS = 3  # of the training folds: each is told of by trees of the others, which calibrates
SURE = 0.002  # no share of the trees' votes is nearer to 0 or 1
LEAST = 2  # positives; of a label with fewer its share is told
BEFORE_QRS = slice(36, 40)  # samples of a token, the R peak at 48: the level that waves are measured from
P_WAVE, Q_WAVE, R_WAVE, S_WAVE = slice(20, 38), slice(40, 48), slice(44, 54), slice(48, 56)
J_POINT, ST, T_WAVE = slice(54, 58), slice(58, 62), slice(62, 88)
Q_SAMPLES = (40, 42, 44, 46)

Floats = NDArray[np.float64]


def described(data: Corpus, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(record, number) waves of each lead's mean beat, the rhythm, and the intervals of `measure`."""
    out = []
    for i in range(0, len(rows), 64):
        beats = data.beats(rows[i : i + 64])
        scale, _ = beats.lead_scale()
        seen = beats.there[..., None] & beats.inside[:, None]
        mean = torch.where(seen, beats.values.float(), 0.0).sum(2) / seen.sum(2).clamp_min(1)
        mean = mean / scale[..., None]
        mean = mean - mean[..., BEFORE_QRS].mean(-1, keepdim=True)
        t, p = mean[..., T_WAVE], mean[..., P_WAVE]
        waves = [
            mean[..., Q_WAVE].amin(-1),
            mean[..., R_WAVE].amax(-1),
            mean[..., S_WAVE].amin(-1),
            mean[..., J_POINT].mean(-1),
            mean[..., ST].mean(-1),
            *(t.amax(-1), t.amin(-1), t.mean(-1)),
            mean[..., Q_SAMPLES].flatten(1),
            *(p.amax(-1), p.amin(-1)),
        ]
        out.append(torch.cat([*waves, rhythm(beats.seconds, beats.there.any(1))], 1).numpy())
    return np.concatenate([np.concatenate(out), np.nan_to_num(measured(data, rows))], axis=1)


def forest(
    data: Corpus,
    rows: NDArray[np.int64],
    labels: NDArray[np.float32],
    asked: NDArray[np.int64],
    seed: int = 0,
) -> NDArray[np.float32]:
    """(asked, label) calibrated logits of forests, one a label, that learned from (row, label) `labels`."""
    learned, unseen = described(data, rows), described(data, asked)
    folds = data.fold[rows]
    told = np.zeros(labels.shape)
    kinds = np.unique(folds)
    if kinds.size < 2:
        raise CorpusError(f"a forest is calibrated across folds; it learns from {kinds.tolist()} alone.")
    for part in np.array_split(kinds, min(PARTS, kinds.size)):
        out = np.isin(folds, part)
        told[out] = _votes(learned[~out], labels[~out], learned[out], seed)
    platt = fit_platt(told, labels)
    found: Floats = platt[:, 0] * _votes(learned, labels, unseen, seed) + platt[:, 1]
    return found.astype(np.float32)


def _votes(
    x: NDArray[np.float32], labels: NDArray[np.float32], asked: NDArray[np.float32], seed: int
) -> Floats:
    """(record, label) log odds of the votes of the trees that learned from x (record, number)."""
    from sklearn.ensemble import ExtraTreesClassifier

    out = np.zeros((len(asked), labels.shape[1]))
    for k, label in enumerate(labels.T > 0.5):
        if min(label.sum(), (~label).sum()) < LEAST:
            out[:, k] = label.mean()
            continue
        trees = ExtraTreesClassifier(
            TREES,
            min_samples_leaf=LEAF,
            max_features=SHARE,
            class_weight="balanced",
            n_jobs=-1,
            random_state=seed,
        ).fit(x, label)
        trees.set_params(n_jobs=1)  # several add their votes up in any order, and round another way each time
        out[:, k] = trees.predict_proba(asked)[:, 1]
    return logit(out.clip(SURE, 1 - SURE))
