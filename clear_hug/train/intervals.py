"""Intervals as `measure` finds them, which a model learns to read beside its labels.

Few records are labelled with a long PR interval, and every record has one: what tells how long it is stands
in the lead tokens only if something asks for it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from clear_hug.beats import TOKEN_FS
from clear_hug.ecg import ECG
from clear_hug.measure import measure
from clear_hug.train.corpus import Corpus

USUAL = {"p": (105, 15), "pr": (160, 30), "qrs": (95, 15), "qtc_framingham": (415, 30)}
"""Name of `measure` to ms, about the mean and spread of ordinary records."""
USUAL_RATE, SPREAD_OF_RATE = 70.0, 0.25  # beats/min; of its logarithm
USUAL_SD, SPREAD_OF_SD, LEAST_SD = 0.025, 0.7, 0.005  # of RR, as a share of RR; of its logarithm
FARTHEST = 4.0  # from the usual, in units of the spread
N_INTERVALS = len(USUAL) + 2


def measured(data: Corpus, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(record, interval) those of `USUAL`, heart rate and SD of RR, less the usual, in units of the spread.

    NaN where nothing was found. Takes about 10 ms a record.
    """
    out = np.full((len(rows), N_INTERVALS), np.nan)
    for k, row in enumerate(tqdm(rows, desc="intervals", unit=" ECG", disable=len(rows) < 100)):
        found = measure(ECG(data.trace(int(row)), TOKEN_FS, str(row)))
        values = [(getattr(found, name) - usual) / spread for name, (usual, spread) in USUAL.items()]
        rate = np.log(found.heart_rate / USUAL_RATE) / SPREAD_OF_RATE
        out[k] = [*values, rate, np.log((found.rr_sd / found.rr + LEAST_SD) / USUAL_SD) / SPREAD_OF_SD]
    return out.clip(-FARTHEST, FARTHEST).astype(np.float32)
