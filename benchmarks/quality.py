"""Signal quality against people, and leads exchanged on purpose: `python -m benchmarks.quality`.

`python -m benchmarks.quality fit` learns what `clear_hug/quality.json` holds: from the challenge of 2011
whether a record is acceptable, from PTB-XL's folds 1 to 8 whether leads were exchanged.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from clear_hug import quality
from clear_hug.datasets import ARRAYS
from clear_hug.ecg import ECG, ECGError, resample
from clear_hug.exchange import REVERSALS, beat_features, suspect
from clear_hug.io import read_ecg
from clear_hug.leads import LEADS
from clear_hug.qrs import detect_qrs
from clear_hug.quality import DOUBTFUL, PARAMETERS, Quality, assess_quality
from clear_hug.simulate import simulate_ecg

CINC2011 = ARRAYS["cinc2011"]
PLACES = [CINC2011.leads.index(lead) for lead in LEADS]
NORMALIZED = 100.0, 200.0  # Hz, units an SD: the voltage is unknown
FOLDS = range(1, 9)  # of PTB-XL: the ninth and tenth are for the end
PENALTY = 10.0  # on the squares of the coefficients of "acceptable"
C = 0.03  # the inverse of it, of "reversal"
RIGHT_WEIGHT = 6.0  # of a record with its leads in their places against one exchange of them
LEAST = 3.0  # log odds from which an exchange is suspected
REPEATS, PARTS, ROUNDS = 5, 5, 2000
DIGITS = 5


# Acceptable


def cinc2011(folder: Path, fs: float = CINC2011.fs) -> Iterator[tuple[ECG, bool]]:
    """The labelled records at hand at a rate, and whether readers found each unacceptable."""
    signals = np.load(folder / "cinc2011" / "signals.npz")["signals"]
    with (folder / "cinc2011" / "index.csv").open(newline="") as file:
        labels = [row["quality"] for row in csv.DictReader(file)]
    for counts, label in zip(signals, labels, strict=True):
        if label:
            signal = resample(counts[PLACES] / CINC2011.per_mv, CINC2011.fs, fs)
            yield ECG(signal, fs), label == "unacceptable"


def features_of(ecg: ECG) -> np.ndarray:
    """What "acceptable" is told from, of a record of one window."""
    r_peaks = detect_qrs(ecg.signal, ecg.fs)
    seen = quality.see(ecg.signal, ecg.fs, r_peaks)
    return quality.record_features(quality.measure_leads(seen, ecg.units_known), len(r_peaks))


def fit_acceptable(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Logistic regression for "unacceptable" with no coefficient below 0."""
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
    z = np.column_stack([(x - mean) / scale, np.ones(len(x))])
    penalty = np.append(np.full(x.shape[1], PENALTY), 0.0)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        logit = z @ w
        missed = 1 / (1 + np.exp(-logit)) - y
        return (
            float(np.logaddexp(0, logit).sum() - y @ logit + penalty @ w**2 / 2),
            z.T @ missed + penalty * w,
        )

    bounds = [(0, None)] * x.shape[1] + [(None, None)]
    w = minimize(loss, np.zeros(z.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds).x
    return {"mean": mean, "coefficients": w[:-1] / scale, "intercept": w[-1]}


def told(learnt: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """(record,) logit of "unacceptable"."""
    logits: np.ndarray = learnt["intercept"] + (x - learnt["mean"]) @ learnt["coefficients"]
    return logits


def cross_validated(x: np.ndarray, y: np.ndarray, train: np.ndarray | None = None) -> np.ndarray:
    """(record,) chance of "unacceptable" of each record by fits that never saw it, the mean of five rounds.

    train : (record, feature) of the same records that the fits learn from; x itself by default
    """
    out = np.zeros(len(y))
    for seed in range(REPEATS):
        for fit, test in StratifiedKFold(PARTS, shuffle=True, random_state=seed).split(x, y):
            learnt = fit_acceptable((x if train is None else train)[fit], y[fit])
            out[test] += 1 / (1 + np.exp(-told(learnt, x[test]))) / REPEATS
    return out


def interval(scores: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the AUROC over records."""
    rng, found = np.random.default_rng(0), []
    for _ in range(ROUNDS):
        rows = rng.integers(len(y), size=len(y))
        if 0 < y[rows].sum() < len(y):
            found.append(roc_auc_score(y[rows], scores[rows]))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def report_acceptable(data: Path) -> None:
    table = {fs: list(cinc2011(data, fs)) for fs in (500.0, 100.0)}
    y = np.array([bad for _, bad in table[500.0]], dtype=float)
    x = {fs: np.array([features_of(ecg) for ecg, _ in records]) for fs, records in table.items()}
    print(f"Challenge of 2011: {len(y)} records, {int(y.sum())} unacceptable; {PARTS}-fold, {REPEATS} times")
    for fs in table:
        p = cross_validated(x[fs], y, x[500.0])
        low, high = interval(p, y)
        called = p > 1 - DOUBTFUL
        print(
            f"  at {fs:g} Hz: AUROC {roc_auc_score(y, p):.3f} ({low:.3f} to {high:.3f}); called unacceptable "
            f"{called[y > 0].mean():.1%} of the unacceptable, {called[y == 0].mean():.1%} of the acceptable"
        )


# Elsewhere


def ptbxl(data: Path, rate: str = "hr") -> Iterator[tuple[ECG, int, bool]]:
    """Records of folds 1 to 8: the ECG, its fold, and whether it is called normal."""
    with (data / "ptbxl" / "ptbxl_database.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            path = (data / "ptbxl" / row[f"filename_{rate}"]).with_suffix(".hea")
            if int(row["strat_fold"]) in FOLDS and path.exists():
                yield read_ecg(str(path)), int(row["strat_fold"]), "'NORM'" in row["scp_codes"]


def ptbxl_normalized(data: Path) -> Iterator[tuple[ECG, int, bool]]:
    folder = data / "ptbxl_normalized"
    signals = np.load(folder / "signals.npz")["signals"]
    with (folder / "ptbxl_database.csv").open(newline="") as file:
        for counts, row in zip(signals, csv.DictReader(file), strict=True):
            if int(row["strat_fold"]) in FOLDS:
                ecg = ECG(counts / NORMALIZED[1], NORMALIZED[0], units_known=False)
                yield ecg, int(row["strat_fold"]), "'NORM'" in row["scp_codes"]


def files(folder: Path) -> Iterator[ECG]:
    """What can be read of a folder of WFDB records."""
    for header in sorted(folder.rglob("*.hea")):
        try:
            yield read_ecg(str(header))
        except ECGError as error:
            print(f"  left out: {error}")


def elsewhere(data: Path) -> dict[str, Callable[[], Iterable[ECG]]]:
    return {
        "PTB-XL, 500 Hz": lambda: (ecg for ecg, _, _ in ptbxl(data)),
        "PTB-XL, 100 Hz": lambda: (ecg for ecg, _, _ in ptbxl(data, "lr")),
        "PTB-XL, 100 Hz, unit unknown": lambda: (ecg for ecg, _, _ in ptbxl_normalized(data)),
        "LUDB": lambda: files(data / "ludb"),
        "CinC 2021": lambda: files(data / "cinc2021"),
        "CinC 2025": lambda: files(data / "cinc2025_chagas"),
    }


def median_beats(ecg: ECG) -> np.ndarray | None:
    """(12, sample) of a record that tells of an exchange."""
    r_peaks = detect_qrs(ecg.signal, ecg.fs)
    seen = quality.see(ecg.signal, ecg.fs, r_peaks)
    tells = quality.tells_exchange(quality.measure_leads(seen, ecg.units_known), len(r_peaks))
    return seen.median if tells else None


def report_elsewhere(found: dict[str, list[Quality]]) -> None:
    print("Elsewhere, where most records were kept because they can be read:")
    for name, qualities in found.items():
        bad = [q.doubtful for q in qualities]
        leads = np.mean([len(q.doubtful_leads) for q in qualities])
        print(
            f"  {name}: {np.mean(bad):.1%} of {len(bad)} records called unacceptable; {leads:.2f} leads a "
            f"record doubtful"
        )


# Exchanged


def exchanged(medians: np.ndarray) -> dict[str, np.ndarray]:
    """Name of an exchange, "" for none -> the median beats (record, 12, sample) so exchanged."""
    turned = {
        name: medians[:, list(rows)] * np.array(signs)[:, None]
        for name, (rows, signs, _) in REVERSALS.items()
    }
    return {"": medians, **turned}


def fit_exchange(medians: np.ndarray) -> dict[str, Any]:
    """Multinomial logistic regression: which exchange, if any."""
    turned = exchanged(medians)
    every = np.array([np.nan_to_num(beat_features(b)) for part in turned.values() for b in part])
    mean, scale = every.mean(axis=0), every.std(axis=0) + 1e-6
    y = np.repeat(np.arange(len(turned)), len(medians))
    weight = np.where(y == 0, RIGHT_WEIGHT, 1.0)
    model = LogisticRegression(C=C, max_iter=400).fit((every - mean) / scale, y, weight)
    return {
        "mean": mean,
        "coefficients": model.coef_ / scale,
        "intercept": model.intercept_,
        "least": LEAST,
    }


def suspects(medians: np.ndarray, learnt: dict[str, Any]) -> list[str]:
    """The exchange suspected in each record, "" for none."""
    return [suspect([median], learnt)[0] or "" for median in medians]


def report_exchange(title: str, called: dict[str, list[str]], normal: Sequence[bool] | None = None) -> None:
    alarms = np.array([bool(name) for name in called[""]])
    line = f"  {title}: false alarms {alarms.mean():.1%} of {len(alarms)}"
    if normal is not None:
        line += f", {alarms[np.array(normal)].mean():.1%} of the {int(np.sum(normal))} normal"
    print(f"{line}; found, if exchanged:")
    rates = [f"{name} {np.mean([c == name for c in called[name]]):.0%}" for name in REVERSALS]
    print(f"    {', '.join(rates)}")


def ptbxl_beats(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(record, 12, sample) median beats of folds 1 to 8, the fold of each, and whether it is normal."""
    records = [*ptbxl(data, "lr"), *ptbxl_normalized(data)]
    beats = [median_beats(ecg) for ecg, _, _ in records]
    told = [(b, fold, normal) for b, (_, fold, normal) in zip(beats, records, strict=True) if b is not None]
    medians, fold, normal = (np.array(part) for part in zip(*told, strict=True))
    return medians, fold, normal


def report_exchanges(data: Path) -> None:
    print(f"Leads exchanged on purpose, suspected from log odds of {LEAST:g}:")
    medians, fold, normal = ptbxl_beats(data)
    turned = exchanged(medians)
    called: dict[str, list[str]] = {name: [""] * len(fold) for name in turned}
    for pair in np.array(FOLDS).reshape(-1, 2):
        test = np.isin(fold, pair)
        learnt = fit_exchange(medians[~test])
        for name, part in turned.items():
            for row, said in zip(np.flatnonzero(test), suspects(part[test], learnt), strict=True):
                called[name][row] = said
    report_exchange("PTB-XL, two folds by the six others", called, normal)
    for name in ("LUDB", "CinC 2021"):
        beats = [median_beats(ecg) for ecg in elsewhere(data)[name]()]
        turned = exchanged(np.array([b for b in beats if b is not None]))
        learnt = quality.learnt_parameters()["reversal"]
        report_exchange(name, {kind: suspects(part, learnt) for kind, part in turned.items()})


# Speed, and what is shipped


def report_speed() -> None:
    ecg = simulate_ecg("normal")
    assess_quality(ecg)
    start = time.process_time()
    for _ in range(10):
        assess_quality(ecg)
    print(f"10 s at 500 Hz: {100 * (time.process_time() - start):.0f} ms of CPU time")


def fit(data: Path) -> None:
    """Learn both parts and write them into the package."""
    records = list(cinc2011(data))
    x, y = np.array([features_of(ecg) for ecg, _ in records]), np.array([bad for _, bad in records], float)
    medians, _, _ = ptbxl_beats(data)
    parts = {
        "acceptable": fit_acceptable(x, y),
        "reversal": fit_exchange(medians),
    }
    short = {part: {name: _short(value) for name, value in what.items()} for part, what in parts.items()}
    PARAMETERS.write_text(json.dumps(short, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{PARAMETERS.name}: from {len(y)} records of the challenge, and {len(medians)} of PTB-XL")


def _short(value: Any) -> Any:
    """Numbers to a few digits, arrays as lists."""
    if np.ndim(value):
        return [_short(part) for part in value]
    return float(f"{float(value):.{DIGITS}g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", nargs="?", choices=("report", "fit"), default="report")
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("CLEAR_HUG_DATA"), help="holds cinc2011/ ..."
    )
    asked = parser.parse_args()
    if asked.data is None:
        parser.error("name the folder that holds cinc2011/ with --data or CLEAR_HUG_DATA")
    data = Path(asked.data)
    if asked.task == "fit":
        fit(data)
        return
    report_acceptable(data)
    report_elsewhere(
        {name: [assess_quality(ecg) for ecg in records()] for name, records in elsewhere(data).items()}
    )
    report_exchanges(data)
    report_speed()


if __name__ == "__main__":
    main()
