"""How fast `prepare` is, a core, and how large its shards are. `python -m benchmarks.prepare`.

Reads the 500 Hz WFDB records of PTB-XL below CLEAR_HUG_DATA, in one process of one thread, and counts the
seconds that the processor worked, beside those of a plain Fourier transform, so that a noisy machine shows.
Read twice, and the second time counted: of a large set the libraries that are loaded once are no part.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from scipy import fft

from clear_hug.train.corpus import Corpus, part_names, read_plan
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


def bytes_held(shard: Path, times: int = 1000) -> float:
    """Of memory that an open corpus holds a record: the shard's records many times, by other names.

    In as many parts as a large source has; the arrays of all are the same files.
    """
    plan, many = read_plan(shard), shard.parent.parent / "many" / shard.name
    assert plan
    parts = [shard / name for name in part_names(plan)]
    text: dict[str, Any] = {"dtype": str, "keep_default_na": False}
    table = pd.concat([pd.read_csv(part / "records.csv", **text) for part in parts])
    many.mkdir(parents=True)
    for name in ("trace", "beats", "lead_scale"):
        np.save(many / f"{name}.npy", np.concatenate([np.load(part / f"{name}.npy") for part in parts]))
    plan |= {"parts": times, "part_records": len(table), "records": times * len(table)}
    (many / "plan.json").write_text(json.dumps(plan))
    for k, name in enumerate(part_names(plan)):
        (many / name).mkdir()
        for array in many.glob("*.npy"):
            (many / name / array.name).symlink_to(array)
        another = {
            "record": table["record"] + f"{k:04d}",
            "patient": table["patient"] + f"{k:04d}",
            "digest": [hashlib.sha256(f"{k} {i}".encode()).hexdigest() for i in range(len(table))],
        }
        table.assign(**another, trace=another["digest"]).to_csv(many / name / "records.csv", index=False)
    before = psutil.Process().memory_info().rss
    data = Corpus(many.parent)
    gc.collect()
    return (psutil.Process().memory_info().rss - before) / len(data)


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
        held = bytes_held(out / "ptbxl")
    after = transforms_a_second()
    print(f"{n / seconds:.0f} records/s a core (500 Hz WFDB, 10 s), {size / n:,.0f} bytes a record")
    print(f"a Fourier transform of such a record, there and back: {before:.0f}/s, afterwards {after:.0f}/s")
    hours = MIMIC_RECORDS / (n / seconds) / 3600
    print(f"{held:,.0f} bytes of memory a record where a corpus is open")
    print(
        f"MIMIC-IV-ECG at this rate: {hours:.1f} core hours, {MIMIC_RECORDS * size / n / 1e9:.0f} GB, and "
        f"{MIMIC_RECORDS * held / 1e9:.1f} GB of memory in each process"
    )


if __name__ == "__main__":
    main()
