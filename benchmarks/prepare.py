"""How fast `prepare` is, a core, and how large its shards are. `python -m benchmarks.prepare`.

Reads the 500 Hz WFDB records of PTB-XL below CLEAR_HUG_DATA, in one process of one thread, and counts the
seconds that the processor worked, beside those of a plain Fourier transform, so that a noisy machine shows.
Read twice, and the second time counted: of a large set the libraries that are loaded once are no part.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import fft

from clear_hug.train.corpus import Corpus
from clear_hug.train.prepare import prepare

MIMIC_RECORDS = 800_035


def transforms_a_second() -> float:
    """Of twelve leads of 10 s at 500 Hz, there and back."""
    record = np.random.default_rng(0).normal(size=(12, 5000)).astype(np.float32)
    start, n = time.process_time(), 0
    while time.process_time() - start < 1:
        fft.irfft(fft.rfft(record, axis=1), axis=1)
        n += 1
    return n / (time.process_time() - start)


def main() -> None:
    source = Path(os.environ["CLEAR_HUG_DATA"]) / "ptbxl"
    before = transforms_a_second()
    with tempfile.TemporaryDirectory() as folder:
        first, out = Path(folder, "first"), Path(folder, "second")
        with contextlib.redirect_stdout(io.StringIO()):
            prepare([source], first, workers=1)
            start = time.process_time()
            prepare([source], out, workers=1)
        seconds = time.process_time() - start
        n = len(Corpus(out))
        size = sum(path.stat().st_size for path in out.rglob("*.*") if path.is_file())
    after = transforms_a_second()
    print(f"{n / seconds:.0f} records/s a core (500 Hz WFDB, 10 s), {size / n:,.0f} bytes a record")
    print(f"a Fourier transform of such a record, there and back: {before:.0f}/s, afterwards {after:.0f}/s")
    hours = MIMIC_RECORDS / (n / seconds) / 3600
    print(f"MIMIC-IV-ECG at this rate: {hours:.1f} core hours, {MIMIC_RECORDS * size / n / 1e9:.0f} GB")


if __name__ == "__main__":
    main()
