"""A day of twelve leads at 500 Hz: opened, read in stretches, and followed from end to end.

`python -m benchmarks.long_record` writes a WFDB record of 1.04 GB into a temporary folder, then does in a
fresh process what the app does with it, and prints seconds and the most memory that was resident.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from clear_hug.ecg import clock
from clear_hug.io import open_ecg
from clear_hug.leads import LEADS
from clear_hug.simulate import simulate_ecg

FS = 500.0
RATES = (48, 56, 64, 72, 84, 98, 120)  # beats/min, slow by night and fast by day
NOISY = 0.03  # share of the minutes


def write_record(folder: Path, hours: float = 24.0, seed: int = 0) -> Path:
    """A record made of simulated minutes whose rate changes along the day; some are noisy, one is silent."""
    rng = np.random.default_rng(seed)
    minutes = [_minute(simulate_ecg("normal", k, fs=FS, seconds=60.0, heart_rate=float(rate), rr_sd=0.03))
               for k, rate in enumerate(RATES)]  # fmt: skip
    noisy = _minute(simulate_ecg("noise", seed, fs=FS, seconds=60.0))
    n = round(hours * 60)
    with (folder / "day.dat").open("wb") as file:
        for minute in range(n):
            place = 3 + 3 * np.sin(2 * np.pi * (minute / 60 - 9) / 24) + rng.normal(0, 0.5)
            held = noisy if rng.random() < NOISY else minutes[int(np.clip(round(place), 0, 6))]
            file.write(bytes(len(held)) if minute == n // 2 else held)
    lines = [f"day.dat 16 1000/mV 16 0 0 0 0 {lead}" for lead in LEADS]
    header = [f"day 12 {FS:g} {n * round(60 * FS)}", *lines]
    (folder / "day.hea").write_text("\n".join(header) + "\n")
    return folder / "day.hea"


def _minute(ecg) -> bytes:  # type: ignore[no-untyped-def]
    return np.round(ecg.signal.T * 1000).astype("<i2").tobytes()


def peak_mib() -> float:
    """The most memory that was resident since this process began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def told(what: str, began: float) -> None:
    print(f"{what}: {time.perf_counter() - began:.2f} s, at most {peak_mib():.0f} MiB resident", flush=True)


def follow(path: Path) -> None:
    """What the app does with a long record."""
    began = time.perf_counter()
    record = open_ecg(path)
    told(f"opened, {clock(record.seconds)} at {record.fs:g} Hz", began)

    import clear_hug as ch
    from clear_hug.trend import nothing_read, places, read_on

    began = time.perf_counter()
    ecg = record.read(record.seconds / 2 + 600, 120.0)
    told(f"a stretch of {ecg.duration:.0f} s read", began)
    began = time.perf_counter()
    tokens = ch.tokenize_beats(ecg)
    told(f"{tokens.n_beats} beats cut", began)
    began = time.perf_counter()
    checkpoint = ch.load_checkpoint()
    answer = ch.diagnose(checkpoint, tokens)
    ch.measure(ecg)
    first = answer.labels[int(answer.probabilities.argmax())]
    told(f"checkpoint loaded, diagnosed ({first}), measured", began)

    began, trend = time.perf_counter(), nothing_read(record.seconds)
    while not trend.done:
        trend = read_on(record, trend)
        if trend.read == 16:
            told("16 pieces of the trend, evenly over the whole", began)
    told(f"the whole trend, {trend.quality.size} windows", began)
    print(f"doubtful {trend.doubtful:.1%}, without a beat {trend.without_beats:.1%}")
    for by in ("Lowest quality", "Fastest", "Longest RR interval"):
        print(f"{by}: " + ", ".join(f"{clock(p.start)} ({p.value:.2f})" for p in places(trend, by)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--follow", type=Path, help="a record that is there: do the work, in this process")
    asked = parser.parse_args()
    if asked.follow:
        follow(asked.follow)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = write_record(Path(folder), asked.hours)
        size = path.with_suffix(".dat").stat().st_size
        print(f"{asked.hours:g} h of twelve leads at {FS:g} Hz, {size / 1e9:.2f} GB on disk", flush=True)
        subprocess.run([sys.executable, "-m", "benchmarks.long_record", "--follow", str(path)], check=True)


if __name__ == "__main__":
    main()
