"""QTc from beat tokens against that of the whole trace, and against the label. `python -m benchmarks.qt`.

Over the labelled records of PTB-XL's folds 1 to 8 that lie in corpus/: how near the QTc that HUG reads is
to what `measure` finds (by Bazett) at several rates, how long it is where a QRS complex is wide or beats are
premature, and how well either tells the label LNGQT by itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clear_hug.beats import TOKEN_FS
from clear_hug.ecg import ECG
from clear_hug.measure import measure
from clear_hug.qt import qtc
from clear_hug.tasks import TASKS
from clear_hug.train.corpus import Corpus
from clear_hug.train.metrics import auroc

RATES = (40, 55, 70, 90, 140)
LONG = 0.47  # s
NAMES = ("qtc_bazett", "heart_rate")


def main() -> None:
    data, tasks = Corpus(Path("corpus")), (TASKS["subdiagnostic"], TASKS["form"])
    rows = np.flatnonzero((data.fold >= 1) & (data.fold <= 8) & data.labelled_for(tasks))
    own = np.concatenate([qtc(data.beats(part)).numpy() for part in np.split(rows, range(64, len(rows), 64))])
    found = [measure(ECG(data.trace(int(row)), TOKEN_FS, str(row))) for row in rows]
    whole, rate = (np.array([getattr(m, name) for m in found], float) for name in NAMES)
    whole /= 1000
    print(f"{len(rows)} records; not known of {np.isnan(own).sum()}, to `measure` of {np.isnan(whole).sum()}")
    both = np.isfinite(own) & np.isfinite(whole)
    for low, high in [(0, 999), *zip(RATES, RATES[1:], strict=False)]:
        some = both & (rate >= low) & (rate < high)
        off = 1000 * (own - whole)[some]
        quarter, half, rest = np.percentile(off, [25, 50, 75])
        print(
            f"{low} to {high}/min: {some.sum()} records, r {np.corrcoef(own[some], whole[some])[0, 1]:.2f}, "
            f"less that of the trace {half:+.0f} ms ({quarter:+.0f} to {rest:+.0f}, the middle half)"
        )
    truth = data.labels(tasks, rows)
    names = [label for task in tasks for label in task.labels]
    for what, labels in (("all", None), ("a bundle branch block", ("CLBBB", "CRBBB")), ("PVC", ("PVC",))):
        has = np.ones(len(rows), bool)
        if labels:
            has = truth[:, [names.index(label) for label in labels]].any(axis=1)
        ours, theirs = (100 * np.mean(x[has] > LONG) for x in (own, whole))
        print(f"{what}: {ours:.1f} % above {LONG} s ({theirs:.1f} % by the trace)")
    told = truth[:, [names.index("LNGQT")]]
    field = data.labels((TASKS["form"],), rows).any(axis=1)
    for name, values in (("from tokens", own), ("of the trace", whole)):
        filled = np.nan_to_num(values, nan=np.nanmedian(values))[:, None]
        area = auroc(filled[field], told[field])[0]
        print(f"LNGQT ({int(told.sum())} records) by QTc {name} alone: AUROC {area:.3f}")


if __name__ == "__main__":
    main()
