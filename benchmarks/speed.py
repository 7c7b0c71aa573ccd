"""Speed on this machine: file to diagnosis, the base preset, tokenising. `python -m benchmarks.speed`.

Prints medians, and the achieved rate of floating-point work beside a plain matrix product's of the
same precision in the same run, so that a noisy machine shows.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import wfdb

import clear_hug as ch
from clear_hug.beats import split_windows
from clear_hug.diagnosis import collate, computes_bf16, pick_device, precision, ready

REPEATS = 15


def median_ms(work: Callable[[], object], repeats: int = REPEATS) -> float:
    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def file_to_diagnosis() -> None:
    ecg = ch.simulate_ecg("normal", fs=500.0)
    with tempfile.TemporaryDirectory() as folder:
        wfdb.wrsamp(
            "one", 500, ["mV"] * 12, list(ch.LEADS), ecg.signal.T.astype(float), fmt=["16"] * 12,
            adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=folder,
        )  # fmt: skip
        path = Path(folder) / "one.hea"
        checkpoint = ch.load_checkpoint()

        def work() -> None:
            tokens = ch.tokenize_beats(ch.read_ecg(path))
            ch.diagnose(checkpoint, tokens)
            ch.explain(checkpoint, tokens, method="hug")
            ch.explain(checkpoint, tokens, method="attention")

        print(f"file to diagnosis, contributions, attention: {median_ms(work):.1f} ms (10 s, 500 Hz, small)")


def tokenising() -> None:
    records = [ch.simulate_ecg("noise", seed=seed, fs=500.0) for seed in range(20)]
    torch.set_num_threads(1)
    for record in records[:3]:
        ch.tokenize_beats(record)
    start = time.process_time()
    for record in records:
        ch.tokenize_beats(record)
    print(f"tokenising: {len(records) / (time.process_time() - start):.0f} records/s a core (10 s, 500 Hz)")


def forward_flops(config: ch.CLEARConfig, beats: int) -> float:
    """Multiply-adds of one encoder pass, times two."""
    n = 12 * (beats + 1)
    layer = n * (4 * config.width**2 + 2 * config.width * config.feed_forward) + 2 * n * n * config.width
    return 2.0 * (config.depth * layer + n * config.token_samples * config.width)


def base_preset(batch: int = 8) -> None:
    config = ch.PRESETS["base"]
    torch.manual_seed(0)
    model = ch.CLEARHUG(ch.CLEAR(config), ch.HUG(config.width, 5)).eval()
    device = pick_device()
    twin = ready(model, device)
    tokens = ch.tokenize_beats(ch.simulate_ecg("normal", heart_rate=66.0))
    windows = split_windows(tokens) * batch
    beats = collate(windows).to(device)

    def work() -> None:
        with torch.inference_mode(), precision(model, device):
            twin(beats).float().cpu()

    ms = median_ms(work)
    rate = 1000 * batch / ms
    work_done = rate * forward_flops(config, tokens.n_beats) / 1e9
    rows = batch * 12 * (tokens.n_beats + 1)
    dtype = torch.bfloat16 if computes_bf16(device) else torch.float32
    a = torch.randn(rows, config.width, dtype=dtype, device=device)
    b = torch.randn(config.width, 3 * config.width, dtype=dtype, device=device)

    def product() -> None:
        (a @ b).float().cpu()

    plain = 2 * rows * 3 * config.width**2 / (median_ms(product) / 1000) / 1e9
    print(
        f"base preset, batch {batch}, {tokens.n_beats} beats, {device}: {rate:.1f} ECG/s = {work_done:.0f} "
        f"GFLOP/s; a plain product of these shapes in {dtype}: {plain:.0f} GFLOP/s"
    )


def small_preset(batch: int = 32) -> None:
    checkpoint = ch.load_checkpoint()
    device = pick_device()
    model = ready(checkpoint.model, device)
    beats = collate(split_windows(ch.tokenize_beats(ch.simulate_ecg("normal"))) * batch).to(device)

    def work() -> None:
        with torch.inference_mode(), precision(model, device):
            model(beats).float().cpu()

    print(f"small preset, batch {batch}, {device}: {1000 * batch / median_ms(work):.0f} ECG/s")


if __name__ == "__main__":
    torch.set_num_threads(min(2, torch.get_num_threads()))
    print(f"{torch.get_num_threads()} threads, device {pick_device()}, numpy {np.__version__}")
    file_to_diagnosis()
    small_preset()
    base_preset()
    tokenising()
