"""Run: the folder of a run; what it is, how far it is, and all that is needed to go on with it.

run.json              what is run, on what, by which versions; state (running, finished, failed), progress
config.yaml           the same run again: `--config config.yaml --run elsewhere`
log.jsonl             a row an epoch
state-*.safetensors   the last two states, from which `--resume` goes on; none once it is finished
checkpoint/           the model
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from clear_hug.checkpoint import CheckpointError, load_checkpoint, mend_checkpoint, sync
from clear_hug.train.corpus import Corpus
from clear_hug.train.settings import RunError

try:
    import fcntl
except ImportError:  # not everywhere
    fcntl = None  # type: ignore[assignment]

STATES_KEPT = 2
LOCK = ".lock"
PROGRESS_EVERY = 5.0  # s, between two looks that run.json takes at the loop
SAME = ("stage", "config", "sources", "data", "labels", "records", "init_digest", "teachers_digest",
        "calibration")  # fmt: skip
"""Of run.json, where an older one has it: what a resumed run must share."""
TOLD = ("precision", "device", "processes", "versions", "revision")  # what may differ, and is said


def describe(
    stage: str, recipe: Any, engine: Any, data: Corpus, rows: NDArray[Any], accelerator: Accelerator
) -> dict[str, Any]:
    """What stands in run.json and in the checkpoint of how a model came to be (JSON-ready)."""
    about = {
        "stage": stage,
        "config": asdict(recipe),
        "engine": asdict(engine),
        "records": int(rows.size),
        "sources": [shard.name for shard in data.shards],
        "data": data.digest,
        "labels": data.labels_digest,
        "revision": git_revision(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "accelerate", "numpy", "safetensors")},
        },
        "processes": accelerator.num_processes,
        "device": accelerator.device.type,
        "precision": accelerator.mixed_precision,
    }
    return json.loads(json.dumps(about))


class Run:
    """A run folder while its run goes on; every process holds one, the main process alone writes.

    Attributes
    ----------
    folder : Path
    main : this is the main process
    finished : the run was finished before, by the same recipe; there is nothing to do

    """

    def __init__(
        self,
        folder: Path,
        accelerator: Accelerator,
        about: Mapping[str, Any],
        arguments: Mapping[str, Any],
        resume: bool = False,
    ) -> None:
        """Begin a run, or go on with it.

        Parameters
        ----------
        folder : where; every machine must see it
        accelerator : the engine
        about : of `describe`
        arguments : of the command, for config.yaml
        resume : go on from the last good state; without any, begin

        """
        self.folder, self.main, self._accelerator = folder, accelerator.is_main_process, accelerator
        self._log = folder / "log.jsonl"
        self._told = 0.0
        self._saved = ""
        self._lock: IO[bytes] | None = None
        before = self._check(about, resume)
        self.finished = before.get("state") == "finished"
        accelerator.wait_for_everyone()  # nothing is written before everyone has read
        if before and not self.finished:
            for key in TOLD:
                for name, old, new in _differences(key, before.get(key), about.get(key)):
                    self.say(f"{name} was {old}, and is {new}.")
        self._about = {
            **about,
            "state": "running",
            "error": "",
            "started": before.get("started", _now()),
            "updated": _now(),
            "epoch": before.get("epoch", 0),
            "step": before.get("step", 0),
        }
        if self.finished:
            if self.main:
                mend_checkpoint(folder / "checkpoint")
            accelerator.wait_for_everyone()
            try:
                load_checkpoint(folder / "checkpoint")
            except CheckpointError as error:
                raise RunError(
                    f"{folder} was finished, and its checkpoint is gone: {error} Delete the folder and run "
                    "it anew."
                ) from error
            self.say(f"{folder} is finished already; its checkpoint stands.")
            return
        self._take()
        if self.main:
            for part in folder.glob(".*.part"):
                part.unlink()
            mend_checkpoint(folder / "checkpoint")
            _write_aside(folder / "config.yaml", lambda p: p.write_text(_yaml(arguments)))
            self._write_about()

    def _take(self) -> None:
        """Make the folder this run's own; all processes learn of it where it cannot be."""
        words = [""]
        if self.main:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock = _locked(self.folder)
            except RunError as error:
                words = [str(error)]
        if self._accelerator.num_processes > 1:
            broadcast_object_list(words)
        if words[0]:
            raise RunError(words[0])

    def _check(self, about: Mapping[str, Any], resume: bool) -> dict[str, Any]:
        """run.json of a run that may be gone on with; {} of a new one."""
        path = self.folder / "run.json"
        if not path.exists():
            if self._states():
                raise RunError(f"{self.folder} holds states of a run and no run.json; name another folder.")
            return {}
        try:
            before = json.loads(path.read_text())
            state = before["state"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} cannot be read ({error}); name another folder.") from error
        if state == "failed" and not self._states() and not (self.folder / "checkpoint").exists():
            return {}  # there is nothing to lose
        if not resume:
            raise RunError(
                f"{self.folder} holds a run already ({state}). Go on with it by --resume, or name another "
                "folder."
            )
        differs = [
            f"{name} was {old!r} and is {new!r}"
            for key in SAME
            if key in before
            for name, old, new in _differences(key, before.get(key), about.get(key))
        ]
        if differs:
            raise RunError(
                f"{self.folder} was begun otherwise: {'; '.join(differs)}. Go on as it was begun, or name "
                "another folder."
            )
        return before

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Note how it ended; what was saved stays."""
        try:
            if not self.finished:
                self._end(error)
        finally:
            if self._lock:
                (self.folder / LOCK).unlink(missing_ok=True)
                self._lock.close()

    def _end(self, error: BaseException | None) -> None:
        if error is None:
            self._accelerator.end_training()
            if self.main:
                self._about |= {"state": "finished"}
                self._write_about()
                for path in self._states():
                    path.unlink()
            return
        for tracker in self._accelerator.trackers:
            tracker.finish()
        words = str(error) or type(error).__name__
        kept = f"the run up to {self._saved} is kept" if self._saved else "no state was saved yet"
        if isinstance(error, (OSError, SafetensorError)):
            words = f"{self.folder}: {words}; {kept}. Mend this, then go on with --resume."
        if isinstance(error, KeyboardInterrupt):
            words = f"{self.folder}: stopped; {kept}: --resume " + (
                "goes on." if self._saved else "begins anew."
            )
        with suppress(OSError):  # the disk that is full; the sentence is told all the same
            if not self._told_by_another():  # any process may be the one that fails, and others fail with it
                self._about |= {"state": "failed", "error": words}
                self._write_about()
        if isinstance(error, (OSError, SafetensorError, KeyboardInterrupt)):
            raise RunError(words) from error

    def _told_by_another(self) -> bool:
        """Another process of the run has written why it failed."""
        if self._accelerator.num_processes == 1:
            return False
        try:
            return json.loads((self.folder / "run.json").read_text())["state"] == "failed"
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def say(self, words: str) -> None:
        if self.main:
            tqdm.write(words)

    def log(self, epoch: int, **values: float) -> None:
        """One row, into log.jsonl and to the tracker; a value that is not finite is null."""
        if not self.main:
            return
        self._about["epoch"] = epoch
        row = {"epoch": epoch} | {k: float(v) if math.isfinite(v) else None for k, v in values.items()}
        with self._log.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self._accelerator.log({k: v for k, v in row.items() if v is not None and k != "epoch"}, step=epoch)
        self.say(f"epoch {epoch}: " + ", ".join(f"{k} {v:.4g}" for k, v in values.items()))

    def progress(self, **values: Any) -> None:
        """Tell run.json how far it is, now and then."""
        self._about |= values
        if self.main and time.monotonic() - self._told > PROGRESS_EVERY:
            self._write_about()

    def _write_about(self) -> None:
        self._told = time.monotonic()
        self._about["updated"] = _now()
        text = json.dumps(self._about, indent=1)
        _write_aside(self.folder / "run.json", lambda p: p.write_text(text + "\n"))

    def _states(self) -> list[Path]:
        return sorted(self.folder.glob("state-*.safetensors"))

    def save(self, step: int, totals: Mapping[str, float], tensors: Mapping[str, Tensor]) -> None:
        """Write the state after `step` steps, whole or not at all; the last two are kept.

        Parameters
        ----------
        step : optimizer steps done
        totals : sums of the running epoch's log row
        tensors : weights, optimizer, averages. No random state is among them: what is drawn is
            drawn from seeds of the epoch, the step or the record.

        """
        if not self.main:
            return
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        about = {"step": step, "totals": dict(totals), "checksum": _checksum(tensors)}
        path = self.folder / f"state-{step:09d}.safetensors"
        _write_aside(path, lambda p: save_file(tensors, p, metadata={"about": json.dumps(about)}))
        self._saved = path.name
        good = [p for p in self._states() if p.name <= path.name][-STATES_KEPT:]
        for other in set(self._states()) - set(good):
            other.unlink()

    def restore(self) -> tuple[int, dict[str, float], dict[str, Tensor]]:
        """What `save` was last given; (0, {}, {}) when a run begins.

        A state that is torn is passed over, and said so; the one before it is taken.
        """
        states = self._states()[::-1]
        for path in states:
            try:
                about, tensors = _read_state(path)
            except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
                self.say(f"{path.name} is torn ({error}): it is not opened.")
                continue
            self._saved = path.name
            self.say(f"going on from step {about['step']} ({path.name}).")
            return about["step"], about["totals"], tensors
        if states:
            self.say(f"no state in {self.folder} can be read: beginning anew.")
        return 0, {}, {}

    def begin_log(self, epoch: int) -> None:
        """Keep the log's rows up to `epoch` and start the tracker; later rows are written again."""
        if self.main and self._log.exists():
            rows = self._log.read_text().splitlines()[:epoch]
            _write_aside(self._log, lambda p: p.write_text("".join(row + "\n" for row in rows)))
        if self._accelerator.log_with:
            later = {"tensorboard": {"purge_step": epoch + 1}} if epoch else {}
            self._accelerator.init_trackers(self.folder.name, init_kwargs=later)


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    value = 0
    for name in sorted(tensors):
        content = tensors[name].reshape(-1).view(torch.uint8).numpy()
        value = zlib.crc32(content.data, zlib.crc32(name.encode(), value))
    return value


def _read_state(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["about"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if about["checksum"] != _checksum(tensors):
        raise ValueError("its checksum is wrong")
    return about, tensors


def _write_aside(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside `path`, force it to the disk, then move it into place: whole or not at all."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(aside)
        sync(aside)
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def _locked(folder: Path) -> IO[bytes] | None:
    """Held while a run goes on; None where the system or its disk knows no locks.

    Raises
    ------
    RunError : another run holds it

    """
    if fcntl is None:
        return None
    try:
        lock = (folder / LOCK).open("wb")
    except OSError:  # a full disk is told where more is written
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        words = f"a run goes on in {folder} at this moment; wait for it, or name another folder."
        raise RunError(words) from None
    except OSError:
        lock.close()
        return None
    return lock


def _differences(name: str, old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [(k, old.get(k), new.get(k)) for k in keys if old.get(k) != new.get(k)]
    return [] if old == new else [(name, old, new)]


def _yaml(arguments: Mapping[str, Any]) -> str:
    return yaml.safe_dump(json.loads(json.dumps(arguments, default=str)), sort_keys=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def git_revision() -> str:
    """The revision of the code, "+changes" behind it where files were changed since, or "unknown"."""
    try:
        revision, changes = (
            subprocess.run(
                ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{revision}+changes" if changes else revision
