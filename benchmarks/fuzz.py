"""Broken files by the thousand: `make fuzz`, or `python -m benchmarks.fuzz --mutants 200 --formats EDF`.

Each mutant of a file of each format is read in a worker under limits (2 GiB of address space, 5 s of CPU).
A worker that dies is a finding and is started again at the next mutant; results stand in a folder, so that a
run goes on where it was stopped. Counted: crashes, hangs, errors that are no sentence, files opened outside
the temporary folder, and ECGs that came back changed (rate, length, leads, amplitude) without a word: a
warning of the reader, or what the app says of the record's quality.

"Beats" is no format: hostile values of an ECG, rates and R peaks through the tokeniser. A silent loss there
is an R peak that is neither a beat nor counted as dropped, and a token that holds what the trace does not.

The libraries in C (HDF5, MAT, Parquet, XLSX) run in a process apart when the app reads; here they run in the
worker itself, for speed: their crashes are counted as contained.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
BYTES, SECONDS = 2 * 2**30, 5.0
APART = ("HDF5", "MAT", "Parquet", "XLSX")


def light_package() -> None:
    """Make `clear_hug.x` importable without the package's own imports: torch alone would fill the limit."""
    package = types.ModuleType("clear_hug")
    package.__path__ = [str(ROOT / "clear_hug")]
    sys.modules["clear_hug"] = package


def real(*parts: str) -> Path | None:
    data = os.environ.get("CLEAR_HUG_DATA")
    path = Path(data, *parts) if data else None
    return path if path and path.is_file() else None


def seeds(folder: Path) -> dict[str, tuple[dict[str, bytes], str]]:
    """Format -> the files of one record, and where they come from."""
    from pydicom.data import get_testdata_file
    from scipy.io import savemat

    from clear_hug.io import read_ecg
    from clear_hug.leads import LEADS
    from tests.written_formats import WRITTEN, bare_dicom

    dicom = Path(str(get_testdata_file("waveform_ecg.dcm", download=False)))
    ecg = read_ecg(dicom)
    mv, fs = ecg.signal[:, ::4].astype(np.float64), 250.0  # 10 s
    found: dict[str, tuple[dict[str, bytes], str]] = {}

    def put(name: str, path: Path | None, where: str = "real") -> None:
        if path is not None:
            found[name] = ({f"m{path.suffix}": path.read_bytes()}, where)

    for name, (file, write) in WRITTEN.items():
        put(name, write(folder / file, mv, fs), "written")
    header = real("ptbxl", "records100", "00000", "00001_lr.hea") or next(
        iter(Path(os.environ.get("CLEAR_HUG_DATA", "/nowhere")).glob("ptbxl/records100/*/*_lr.hea")), None
    )
    if header is not None:
        text = header.read_text().replace(header.stem, "m")
        found["WFDB"] = ({"m.hea": text.encode(), "m.dat": header.with_suffix(".dat").read_bytes()}, "real")
    else:
        import wfdb

        wfdb.wrsamp("m", fs=fs, units=["mV"] * 12, sig_name=list(LEADS), p_signal=mv.T, fmt=["16"] * 12,
                    write_dir=str(folder))  # fmt: skip
        found["WFDB"] = ({n: (folder / n).read_bytes() for n in ("m.hea", "m.dat")}, "written")
    put("DICOM waveform", dicom)
    put("DICOM, no preamble", bare_dicom(folder / "bare.dcm", mv, fs, "explicit"), "written")
    put("HL7 aECG", real("formats", "hl7_aecg", "ecg_hl7.xml"))
    put("GE MUSE XML", real("formats", "ge_muse_xml", "muse_ecg_deidentified_1.xml"))
    put("CardioSoft XML", real("formats", "ge_muse_xml", "ukbb_scrubbed.xml"))
    put("Philips Sierra XML", real("formats", "philips_sierra_xml", "2020-5-18_15-48-11.xml"))
    put("SCP-ECG", real("formats", "scp", "Example.scp"))
    put("CSV", real("formats", "csv", "00001_lr_100hz.csv"))
    put("MAT", real("formats", "mat", "JS00001.mat"))
    if "CSV" not in found:
        np.savetxt(folder / "m.csv", mv.T, delimiter=",", fmt="%.4f", header=",".join(LEADS), comments="")
        put("CSV", folder / "m.csv", "written")
    if "MAT" not in found:
        savemat(folder / "m.mat", {"val": np.round(mv * 1000).astype(np.int16)})
        put("MAT", folder / "m.mat", "written")
    np.save(folder / "m.npy", mv.astype(np.float32))
    put("NPY", folder / "m.npy", "written")
    np.savez_compressed(
        folder / "m.npz", signal=mv.astype(np.float32), fs=fs, units="mV", leads=np.array(LEADS)
    )
    put("NPZ", folder / "m.npz", "written")
    import h5py
    import pandas as pd

    with h5py.File(folder / "m.h5", "w") as file:
        dataset = file.create_dataset("ecg", data=mv.astype(np.float32), compression="gzip")
        dataset.attrs["fs"], dataset.attrs["units"] = fs, "mV"
    put("HDF5", folder / "m.h5", "written")
    table = pd.DataFrame(mv.T.astype(np.float32), columns=[f"{lead} (mV)" for lead in LEADS])
    table.to_parquet(folder / "m.parquet")
    put("Parquet", folder / "m.parquet", "written")
    table.set_axis(np.arange(len(table)) / fs, axis=0).iloc[:500].to_excel(
        folder / "m.xlsx", index_label="Time (s)"
    )
    put("XLSX", folder / "m.xlsx", "written")
    put(BEATS, dicom)
    return found


_NASTY = (
    b"0",
    b"-1",
    b"1",
    b"99999999999999999999",
    b"1e308",
    b"nan",
    b"inf",
    b"2147483647",
    b"65536",
    b"0.0001",
)
_WORDS = (b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x01\x00\x00\x00", b"\xff\x7f")
_SPLICES = (
    b"../../etc/passwd", b"/etc/passwd", b"http://x/y", b"s3://b/k", b'<!DOCTYPE a [<!ENTITY b "c">]>',
    b"&b;", b'<!ENTITY x SYSTEM "file:///etc/passwd">', b"\n\n", b"%s%n",
    b"<a>" * 50, b"[" * 200, b"{", b"}",
    b"PK\x03\x04",
)  # fmt: skip


def mutate(content: bytes, rng: random.Random) -> bytes:
    """One to three changes: flips, lengths and numbers made absurd, truncation, deletion, splices."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        n = len(data)
        if n < 2:
            break
        # Headers are where a reader can be misled: half of the changes fall into the first 2 kB.
        at = rng.randrange(min(n, 2048)) if rng.random() < 0.5 else rng.randrange(n)
        kind = rng.randrange(9)
        if kind == 0:
            for _ in range(rng.randint(1, 8)):
                where = min(n - 1, at + rng.randrange(64))
                data[where] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + rng.randint(1, 8)] = rng.randbytes(rng.randint(1, 8))
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + rng.choice((1, 2, 16, 512, n // 4))]
        elif kind == 4:
            start = rng.randrange(n)
            data[at:at] = data[start : start + rng.choice((4, 32, 512, n // 8))]
        elif kind == 5:
            word = rng.choice(_WORDS)
            data[at : at + len(word)] = word
        elif kind == 6:
            found = [m for m in re.finditer(rb"\d+(\.\d+)?", bytes(data[at : at + 400]))]
            if found:
                number = rng.choice(found)
                data[at + number.start() : at + number.end()] = rng.choice(_NASTY)
        elif kind == 7:
            data[at:at] = rng.choice(_SPLICES)
        else:
            size = rng.choice((2, 4))
            value = int.from_bytes(data[at : at + size], "little")
            changed = (value * rng.choice((0, 2, 256, -1)) + rng.choice((-1, 0, 1))) % 256**size
            data[at : at + size] = changed.to_bytes(size, "little")
    return bytes(data)


RATES = (50.0, 62.5, 100.0, 128.0, 240.0, 250.0, 257.3, 360.0, 499.9, 500.0, 1000.0, 2000.0, 20_000.0)  # Hz
BEATS = "Beats"


@np.errstate(all="ignore")
def hostile_ecg(rng: random.Random, base: np.ndarray) -> tuple[np.ndarray, float]:
    """Values (12, sample) that no heart made, or only in part, and a rate."""
    fs = rng.choice(RATES)
    n = round(min(fs * rng.choice((1, 1, 2, 5, 10, 10, 30, 100)), rng.choice((2500, 10_000, 30_000))))
    start = rng.randrange(base.shape[1])
    mv = np.take(base, np.arange(start, start + max(n, 1)), axis=1, mode="wrap").copy()
    noise = np.random.default_rng(rng.getrandbits(64))
    for _ in range(rng.choice((1, 1, 2, 3))):
        rows = slice(None) if rng.random() < 0.4 else rng.sample(range(12), rng.randint(1, 11))
        a = rng.randrange(n)
        b = rng.choice((a + 1, min(n, a + rng.randint(1, n)), n))
        kind = rng.randrange(13)
        if kind == 0:
            mv[rows, a:b] = rng.choice((np.nan, np.nan, np.inf, -np.inf))
        elif kind == 1:
            mv[rows] = np.where(noise.random(n) < rng.choice((0.001, 0.5, 0.999)), np.nan, mv[rows])
        elif kind == 2:
            mv[rows, :: rng.choice((2, 3, 50))] = np.nan
        elif kind == 3:
            mv[rows] *= np.float32(10.0 ** rng.uniform(-44, 38))
        elif kind == 4:
            mv[rows] = rng.choice((0.0, 1.0, -3.4e38, 1e-45, 5e3))
        elif kind == 5:
            mv[rows, a:b] = rng.choice((0.0, 0.5, 3.4e38, -32.768))
        elif kind == 6:
            mv[rows, a] = rng.choice((3.4e38, -3.4e38, 1e6, -20.0))
        elif kind == 7:
            mv[rows] += rng.choice((1e3, 1e7, -3e38)) * np.linspace(0, 1, n, dtype=np.float32)
        elif kind == 8:
            mv[rows] = noise.normal(0, rng.choice((1e-6, 1.0, 1e6)), (12, n)).astype(np.float32)[rows]
        elif kind == 9:
            mv[rows] = np.sign(np.sin(np.arange(n) * rng.uniform(1e-3, 3)))
        elif kind == 10:
            mv[rows] = np.round(mv[rows] / 0.5) * 0.5
        elif kind == 11:
            mv[rows] *= -1
        else:
            mv[rows] = np.roll(mv[rows], rng.randrange(n), axis=1)
    return mv, fs


def hostile_peaks(rng: random.Random, seconds: float) -> np.ndarray | None:
    """R peaks in s, or None for a detector's."""
    kind = rng.randrange(10)
    if kind < 4:
        return None
    n = rng.choice((0, 1, 2, 12, 300, 3000))
    peaks = np.array([rng.uniform(0, seconds) for _ in range(n)])
    if kind == 5:
        peaks = np.sort(np.concatenate([peaks, peaks, [0.0, seconds]]))
    elif kind == 6 and n:
        peaks[rng.randrange(n)] = rng.choice((np.nan, np.inf, -np.inf, -1e-9, -1.0, seconds + 1e-9, 1e300))
    elif kind == 7:
        peaks = peaks[0] + np.arange(n) * 1e-9 if n else peaks
    elif kind == 8:
        peaks = np.arange(n, dtype=np.float64) * rng.choice((0.01, 0.2, 0.7))
        peaks = peaks[peaks <= seconds]
    return peaks


def through_tokens(rng: random.Random, base: np.ndarray) -> str:
    """Tokenise a hostile ECG: "read", or what was lost or made up; raises what the tokeniser raises."""
    from clear_hug.beats import tokenize_beats
    from clear_hug.ecg import ECG
    from clear_hug.qrs import detect_qrs

    mv, fs = hostile_ecg(rng, base)
    ecg = ECG(mv, fs, units_known=rng.random() < 0.9)
    peaks = hostile_peaks(rng, ecg.duration)
    tokens = tokenize_beats(ecg, r_peaks=peaks, max_beats=rng.choice((60, 60, 60, 5, 1)))
    found = detect_qrs(ecg.signal, fs) / fs if peaks is None else np.unique(peaks)
    held = tokens.valid.any(axis=0)
    if int(held.sum()) + tokens.n_dropped != found.size or not np.isin(tokens.r_peaks, found).all():
        return "peaks"
    if (
        not np.isfinite(tokens.values).all()
        or (tokens.lead_scale < 0).any()
        or np.isinf(tokens.lead_scale).any()
    ):
        return "values"
    if tokens.valid[~ecg.present].any() or tokens.values[~tokens.valid].any():
        return "absent"
    start, stop = tokens.windows[held].T
    if not ((start < stop) & (start >= 0) & (stop <= ecg.duration + 0.01)).all():
        return "windows"
    return "read"


def spans(ecg: Any) -> np.ndarray:
    with np.errstate(all="ignore"):
        high, low = np.nanpercentile(ecg.signal, (99.5, 0.5), axis=1)
    return np.asarray(high - low)


def changed(ecg: Any, was: Any) -> str:
    """How an ECG differs from the unbroken file's where no warning and no word on its quality tells."""
    from clear_hug.quality import assess_quality

    if set(ecg.warnings) - set(was.warnings):
        return ""
    how = _differs(ecg, was)
    if how and set(assess_quality(ecg).reasons) - set(assess_quality(was).reasons):
        return ""
    return how


def _differs(ecg: Any, was: Any) -> str:
    if abs(ecg.fs / was.fs - 1) > 1e-3:
        return "fs"
    if abs(ecg.n_samples / was.n_samples - 1) > 0.02:
        return "length"
    # a lead that is gone, and a unit that is not known, are said on every page
    if set(was.absent_leads) - set(ecg.absent_leads) or ecg.units_known > was.units_known:
        return "leads"
    if was.units_known > ecg.units_known:
        return ""
    with np.errstate(all="ignore"):
        ratio = spans(ecg) / spans(was)
    return "amplitude" if (np.abs(np.log2(ratio[np.isfinite(ratio) & (ratio > 0)])) > 1).any() else ""


def worker(name: str, start: int, stop: int, out: str, files: str) -> None:
    """Read mutants [start, stop) of a format; one line a mutant goes to `out` as soon as it is known."""
    import warnings

    warnings.simplefilter("ignore")
    light_package()
    from clear_hug.ecg import ECGError
    from clear_hug.io import apart, open, recording

    about = json.loads(Path(files).read_text())
    record = {k: bytes.fromhex(v) for k, v in about.items()}
    if name in APART:

        def here(kind: str, path: Path, most_values: int, *_: Any) -> tuple[Any, Any]:
            found = apart._Found(most_values)
            try:
                apart.LIBRARIES[kind](str(path), found)
            except apart.Refused:
                raise
            except MemoryError:
                raise apart.Refused("needs more memory than a file of its kind may") from None
            except Exception as error:
                raise apart.Refused(f"cannot be read as {kind} ({type(error).__name__})") from None
            return found.arrays, found.said

        recording.read_apart = here  # type: ignore[assignment]
    was = open.read_ecg_upload(record)
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    private = tempfile.gettempdir()  # this worker's own
    allowed = (
        private,
        sys.prefix,
        sys.base_prefix,
        str(ROOT),
        "/usr/share/zoneinfo",
        "/proc/self",
        "/dev/null",
    )
    strayed: list[str] = []

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes):
            path = os.path.abspath(os.fsdecode(args[0]))
            writes = isinstance(args[1], str) and set(args[1]) & set("wax+")
            if not path.startswith(allowed) or (writes and not path.startswith((private, "/dev/null"))):
                strayed.append(path)
        elif event in ("socket.connect", "socket.getaddrinfo", "os.system", "os.exec", "pickle.find_class"):
            strayed.append(event)

    def through_reader(rng: random.Random) -> str:
        mutant = dict(record)
        target = rng.choice(sorted(mutant)) if len(mutant) < 2 or rng.random() > 0.7 else "m.hea"
        mutant[target] = mutate(mutant[target], rng)
        ecg = open.read_ecg_upload(mutant)
        # An attribute of the value that is no number would break a page later.
        assert np.isfinite(ecg.fs) and ecg.signal.shape[0] == 12
        return changed(ecg, was) or ("warned" if set(ecg.warnings) - set(was.warnings) else "read")

    base = was.signal[:, ::4]
    attempt = partial(through_tokens, base=base) if name == BEATS else through_reader
    sys.addaudithook(watch)
    with Path(out).open("a", buffering=1) as log:
        for i in range(start, stop):
            rng = random.Random(f"{name}:{i}")
            strayed.clear()
            # kills: a library in C would not come back to Python
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            began = time.process_time()
            try:
                result = attempt(rng)
            except ECGError as error:
                text = str(error)
                bad = "\n" in text or "Traceback" in text or private in text or len(text) > 700
                result = "no sentence" if bad else "refused"
            except BaseException as error:
                result = f"raised {type(error).__name__}"
            signal.setitimer(signal.ITIMER_PROF, 0)
            if strayed:
                result = f"strayed {strayed[0][:80]}"
            log.write(json.dumps([i, result, round(time.process_time() - began, 3)]) + "\n")


def fuzz(name: str, mutants: int, state: Path, record: dict[str, bytes], nice: int) -> None:
    """Run a format to its number of mutants, starting a worker again wherever one died."""
    out = state / f"{re.sub(r'[^A-Za-z0-9]', '_', name)}.jsonl"
    files = out.with_suffix(".seed")
    files.write_text(json.dumps({k: v.hex() for k, v in record.items()}))
    done = len(results(out))
    while done < mutants:
        command = [sys.executable, "-m", "benchmarks.fuzz", "--nice", str(nice), "--worker",
                   name, str(done), str(mutants), str(out), str(files)]  # fmt: skip
        # In memory where it can be: most of the time would go into folders made and removed on a disk.
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        with tempfile.TemporaryDirectory(prefix="fuzz_", dir=memory) as private:
            status = subprocess.run(
                command, cwd=ROOT, env={**os.environ, "TMPDIR": private},
                stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, check=False,
            )  # fmt: skip
        after = len(results(out))
        if after >= mutants:
            break
        if after == done and status.returncode == 1:
            raise RuntimeError(f"{name}: the worker does not start: {status.stderr.decode()[-800:]}")
        what = (
            "hang" if -status.returncode in (signal.SIGPROF, signal.SIGXCPU) else f"crash {status.returncode}"
        )
        with out.open("a") as log:
            log.write(json.dumps([after, what, SECONDS]) + "\n")
        done = after + 1


def results(path: Path) -> list[tuple[int, str, float]]:
    if not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(tuple(json.loads(line)))
        except ValueError:
            break  # a line that a dying worker left half written
    return found


def table(state: Path, names: dict[str, str], mutants: int) -> None:
    silent = ("fs", "length", "leads", "amplitude", "peaks", "values", "absent", "windows")
    cost = 0.0
    print(f"{'format':20s} {'seed':8s} {'mutants':>8s} {'refused':>8s} {'warned':>7s} {'same':>7s} "
          f"{'changed, no word':>17s} {'no sentence':>12s} {'strayed':>8s} {'hang':>5s} {'crash':>6s} "
          f"{'max s':>6s} {'ms each':>8s}")  # fmt: skip
    for name, where in names.items():
        rows = results(state / f"{re.sub(r'[^A-Za-z0-9]', '_', name)}.jsonl")
        count = Counter(re.split(r"[ :]", r[1])[0] if r[1] != "no sentence" else r[1] for r in rows)
        quiet = ", ".join(f"{k} {count[k]}" for k in silent if count[k]) or "0"
        bad = count["no sentence"] + count["raised"]
        longest = max((r[2] for r in rows), default=0.0)
        each = sum(r[2] for r in rows) / max(1, len(rows))
        cost += each
        print(f"{name:20s} {where:8s} {len(rows):8d} {count['refused']:8d} {count['warned']:7d} "
              f"{count['read']:7d} {quiet:>17s} {bad:12d} "
              f"{count['strayed']:8d} {count['hang']:5d} {count['crash']:6d} "
              f"{longest:6.2f} {1000 * each:8.1f}")  # fmt: skip
    print(f"{mutants:,} mutants of each: {cost * mutants / 60:.0f} minutes of one core")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mutants", type=int, default=20_000, help="of each format")
    parser.add_argument("--formats", nargs="*", help="these alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--state", type=Path, default=Path(tempfile.gettempdir()) / "clear_hug_fuzz")
    parser.add_argument("--nice", type=int, default=19, help="of the workers")
    parser.add_argument("--table", action="store_true", help="print what is known, run nothing")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        os.nice(given.nice)
        name, start, stop, out, files = given.worker
        worker(name, int(start), int(stop), out, files)
        return
    light_package()
    given.state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        found = seeds(Path(folder))
    chosen = {n: found[n] for n in found if not given.formats or n in given.formats}
    if not given.table:
        run: Callable[[str], None] = lambda n: fuzz(n, given.mutants, given.state, chosen[n][0], given.nice)  # noqa: E731
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(run, chosen))
    table(given.state, {n: where for n, (_, where) in chosen.items()}, given.mutants)


if __name__ == "__main__":
    main()
