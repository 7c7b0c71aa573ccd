"""Results, in caches shared by all users, and the `Page` that asks for them.

A cache is keyed by the content of the record and of the checkpoint, never by a name; what it holds is frozen.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from clear_hug.beats import BeatTokens, NoBeats, select_beats, split_windows, tokenize_beats
from clear_hug.checkpoint import (
    CHECKPOINTS,
    Checkpoint,
    CheckpointError,
    folder_of,
    list_checkpoints,
    load_checkpoint,
)
from clear_hug.diagnosis import Diagnosis, Tick, collate, diagnose
from clear_hug.ecg import ECG, WINDOW_SECONDS, ECGError
from clear_hug.edits import EditedPeaks
from clear_hug.exchange import undo_reversal
from clear_hug.explain import METHODS, Attribution, Look, explain, look
from clear_hug.faithfulness import Proof, prove
from clear_hug.gate import Gate, check_input
from clear_hug.gradients import Gradients, integrated_gradients
from clear_hug.known import Known, Person, known, person_of
from clear_hug.measure import BeatFacts, Measurements, measure, measure_beats
from clear_hug.qt import qtc
from clear_hug.quality import Quality, assess_quality
from clear_hug.reconstruct import Reconstruction, reconstruct_both
from clear_hug.removal import Game, parts_of
from clear_hug.runs import FILES, TrainingRun, find_runs, newest_first, read_run, runs_folder
from clear_hug.ui.edits import edits_of
from clear_hug.ui.later import Later
from clear_hug.ui.menus import keep_in
from clear_hug.ui.records import Record, built_in, choice, read_record, stamps_of
from clear_hug.ui.show import SET_RIGHT, in_time, in_turn

MANY_BEATS = 300  # of a record; above it beats are measured and drawn a stretch at a time
FEW_PARTS = 40  # that are left out one by one before anyone stands in line: a picture waits for them
START = "start"  # session_state and address: s at which the stretch that is shown begins
NEAR_SECONDS = 60.0  # on each side of such a stretch, that say what is usual there
T = TypeVar("T")
LATER = Later()
PATIENCE = 0.7  # s that a page waits for the word on a map before it lets it follow
DISTURBANCES = 3  # times that a map is made anew with slight noise, for its proof


def checkpoint_folders() -> dict[str, Path]:
    """Name -> folder: the one named by CLEAR_HUG_CHECKPOINT first, then those that ship."""
    folders = {name: CHECKPOINTS / name for name in list_checkpoints()}
    if not (named := os.environ.get("CLEAR_HUG_CHECKPOINT")):
        return folders
    own = folder_of(named).resolve()
    called = own.parent.name if own.name == "checkpoint" else own.name  # a run's is named by its run
    return {called: own, **{name: path for name, path in folders.items() if name != called}}


@st.cache_resource(max_entries=64, show_spinner="Measuring ...")
def _measure(digest: str, r_peaks: bytes, _ecg: ECG) -> Measurements:
    return measure(_ecg, np.frombuffer(r_peaks))


@st.cache_resource(max_entries=64, show_spinner="Looking at the signal ...")
def _quality(digest: str, _ecg: ECG) -> Quality:
    return assess_quality(_ecg)


@st.cache_resource(max_entries=8, show_spinner=False)
def _undone(digest: str, reversal: str, _ecg: ECG) -> ECG:
    return undo_reversal(_ecg, reversal)


@st.cache_resource(max_entries=4, show_spinner="Loading the model ...")
def _checkpoint(folder: str, stamps: tuple[tuple[int, int], ...]) -> Checkpoint:
    checkpoint = load_checkpoint(folder)
    diagnose(checkpoint, tokenize_beats(built_in("simulated-normal")))  # the first pass is the slow one
    return checkpoint


@st.cache_resource(max_entries=32, show_spinner="Finding the beats ...")
def _tokens(digest: str, method: str, _ecg: ECG) -> BeatTokens:
    return tokenize_beats(_ecg, method)


@st.cache_resource(max_entries=32, show_spinner="Cutting the beats at the edited R peaks ...")
def _tokens_at(digest: str, peaks: str, _ecg: ECG, _r_peaks: NDArray[np.float64]) -> BeatTokens:
    return tokenize_beats(_ecg, r_peaks=_r_peaks)


@st.cache_resource(max_entries=64, show_spinner=False)
def _facts(digest: str, method: str, first: int, last: int, _tokens: BeatTokens) -> BeatFacts:
    return measure_beats(_tokens)


class Near(NamedTuple):
    """Some beats of a record, in order: the row of the first, their tokens and facts."""

    first: int
    tokens: BeatTokens
    facts: BeatFacts


@st.cache_resource(max_entries=64, show_spinner=False)
def _game(
    model: str, digest: str, method: str, level: str, _checkpoint: Checkpoint, _tokens: BeatTokens
) -> Game:
    return Game(_checkpoint, _tokens, parts_of(_tokens, level))  # remembers what it was asked


@st.cache_resource(max_entries=1024, show_spinner=False)
def results_of(model: str, digest: str, method: str, *question: str) -> dict[str, Any]:
    """Where the result of one question is kept; a computation that was stopped leaves it empty."""
    return {}


def _digest(mask: NDArray[np.bool_]) -> str:
    return hashlib.sha256(mask.tobytes()).hexdigest()


@st.cache_resource(max_entries=256, show_spinner=False)
def _training_run(folder: str, name: str, stamps: tuple[tuple[int, int], ...]) -> TrainingRun:
    return read_run(folder, name)


def training_runs() -> dict[str, TrainingRun]:
    """Name -> each run in the folder of runs, the newest first; a file is read again when it changed."""
    found = find_runs(runs_folder())
    return newest_first(
        _training_run(str(path), name, stamps_of(*(path / file for file in FILES)))
        for name, path in found.items()
    )


@dataclass(frozen=True, eq=False)
class Page:
    """What a page is about: one record, seen by one detector and one checkpoint.

    minute : where the stretch of a long record begins
    """

    record: Record
    detector: str
    model: str
    dark: bool
    minute: int = 0

    @cached_property
    def recorded(self) -> ECG:
        """As it was read."""
        return read_record(self.record, self.minute)

    @property
    def set_right(self) -> str | None:
        """The exchange of electrodes that the reader set right in this session, if any."""
        chosen: dict[str, str] = st.session_state.get(SET_RIGHT, {})
        return chosen.get(self.recorded.digest)

    @cached_property
    def ecg(self) -> ECG:
        """What every page is about: as read, or with exchanged leads set right (another digest)."""
        return self.undone(self.set_right) if self.set_right else self.recorded

    def undone(self, reversal: str) -> ECG:
        """As it was read, with an exchange of leads taken back."""
        return _undone(self.recorded.digest, reversal, self.recorded)

    @property
    def quality(self) -> Quality:
        return _quality(self.ecg.digest, self.ecg)

    @cached_property
    def edits(self) -> EditedPeaks | None:
        """The R peaks as they were edited by hand; None where the detector's stand."""
        return edits_of(self.ecg, self.detector)

    @property
    def beats_by(self) -> str:
        """Whose R peaks these are: the detector, or the detector and a reader; part of every key."""
        return f"{self.detector}, by hand {self.edits.digest}" if self.edits else self.detector

    @cached_property
    def tokens(self) -> BeatTokens:
        if self.edits:
            return _tokens_at(self.ecg.digest, self.edits.digest, self.ecg, self.edits.seconds)
        return _tokens(self.ecg.digest, self.detector, self.ecg)

    @cached_property
    def r_peaks(self) -> NDArray[np.float64] | None:
        """(beat,) s; None where no beat was found."""
        try:
            return self.tokens.r_peaks
        except NoBeats:
            return None

    @cached_property
    def read_qtc(self) -> float:
        """s; the QTc that the model reads, the mean over the record's windows. NaN where it is not known."""
        found = qtc(collate(split_windows(self.tokens))).numpy()
        return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")

    @property
    def measured_qtc(self) -> float:
        """s; the QTc of the trace by Bazett, NaN where nothing can be measured."""
        with suppress(ValueError):
            return float(self.measurements.qtc_bazett) / 1000
        return float("nan")

    @cached_property
    def measurements(self) -> Measurements:
        """Measured at the R peaks that are shown; without any, `measure` says why."""
        found = np.empty(0) if self.r_peaks is None else self.r_peaks
        return _measure(self.ecg.digest, found.tobytes(), self.ecg)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        folder = checkpoint_folders().get(self.model)
        if folder is None:
            raise CheckpointError(
                "No checkpoint is there, so that this page has no model to ask. Put one into "
                "checkpoints/, or name its folder in CLEAR_HUG_CHECKPOINT, and start the app again."
            )
        told = ("config", "calibration", "faithfulness", "operating")
        names = ("model.safetensors", *(f"{name}.json" for name in told))
        return _checkpoint(str(folder), stamps_of(*(folder / name for name in names)))

    @property
    def key(self) -> tuple[str, str, str]:
        return self.checkpoint.identity, self.ecg.digest, self.beats_by

    def _once(self, label: str, work: Callable[[], T], *question: str, long: bool = False) -> T:
        """What the model answers, asked once for all sessions; what takes long stands in line with them."""
        kept = results_of(*self.key, *question)
        if "result" not in kept:
            with st.spinner(label), in_turn() if long else nullcontext():
                if "result" not in kept:  # another session may have asked the same meanwhile
                    kept["result"] = work()
        found: T = kept["result"]
        return found

    @cached_property
    def diagnosis(self) -> Diagnosis:
        return self._once("Asking the model ...", lambda: diagnose(self.checkpoint, self.tokens), "diagnosis")

    @cached_property
    def gate(self) -> Gate:
        """What is unusual about the record, to be said before an answer is read."""

        def work() -> Gate:
            return check_input(self.ecg, self.tokens, self.checkpoint, self.quality)

        return self._once("Looking at what is unusual ...", work, "gate", long=self.is_long)

    @cached_property
    def told(self) -> Known:
        """What the data set around the file, or its header, says of the record."""
        return known(self.record.path) if self.record.kind == "folder" else Known()

    @cached_property
    def person(self) -> Person:
        """Whose ECG it is: by the file, and where that is silent by the data set around it."""
        said = Known()
        with suppress(ECGError):  # a torn table of labels: the Diagnosis page says so
            said = self.told
        return person_of(self.ecg.age, self.ecg.sex, said)

    @cached_property
    def known(self) -> dict[str, bool]:
        """task/label -> whether the record has it, for the checkpoint's labels that its data set tells."""
        told = self.told.of(self.checkpoint.tasks)
        tasks = [task for task in self.checkpoint.tasks if task.name in told]
        return {f"{t.name}/{label}": label in told[t.name] for t in tasks for label in t.labels}

    @cached_property
    def beat_facts(self) -> BeatFacts:
        return _facts(self.ecg.digest, self.beats_by, 0, self.tokens.n_beats, self.tokens)

    def beats_near(self, start: float, seconds: float) -> Near:
        """The beats that those of a stretch are held against: all, or of a long record its neighbours."""
        r_peaks = self.tokens.r_peaks
        if r_peaks.size <= MANY_BEATS:
            return Near(0, self.tokens, self.beat_facts)
        first, last = np.searchsorted(r_peaks, [start - NEAR_SECONDS, start + seconds + NEAR_SECONDS])
        if first == last:  # a long gap: the beats on both sides of it
            first, last = max(0, first - 1), min(r_peaks.size, last + 1)
        near = select_beats(self.tokens, np.arange(first, last))
        return Near(int(first), near, _facts(self.ecg.digest, self.beats_by, int(first), int(last), near))

    def without(self, hidden: NDArray[np.bool_]) -> Diagnosis:
        """The diagnosis with the tokens of `hidden` (12, beat) left out."""

        def work() -> Diagnosis:
            return diagnose(self.checkpoint, self.tokens, hidden)

        return self._once("Asking the model ...", work, "without", _digest(hidden))

    def logit_without(self, hidden: NDArray[np.bool_], target: str, against: str = "") -> float:
        """The logit of a label, or how far it stands above another's, with tokens left out."""
        logits, row = self.without(hidden).logits, self.checkpoint.row
        return float(logits[row(target)] - (logits[row(against)] if against else 0.0))

    def game(self, level: str) -> Game:
        return _game(*self.key, level, self.checkpoint, self.tokens)

    def read_by_groups(self, sets: NDArray[np.bool_]) -> NDArray[np.float64] | None:
        """(set, label) logits where only some groups of leads are read; None where that was stopped."""
        game = self.game("group")
        if not self.is_long:
            return game(sets)

        def work(tick: Tick) -> NDArray[np.float64]:
            for done, some in enumerate(sets, 1):
                game(some[None])
                tick(done / len(sets))
            return game(sets)

        question = (*self.key, "groups", _digest(sets))
        found: NDArray[np.float64] | None = in_time(
            results_of(*question), "-".join(question), "Reading groups of leads ...", work
        )
        return found

    def explain(
        self, target: str, method: str = "hug", level: str = "lead", against: str = ""
    ) -> Attribution:
        """An explanation that one pass, or a look at each part, tells at once."""
        return self._explain(target, method, level, against)

    def worth(self, target: str, method: str, level: str, against: str = "") -> Attribution | None:
        """An explanation that may take its time; None where it was stopped."""
        question = (target, method, level, against)

        def work(tick: Tick) -> Attribution:
            return self._explain(*question, tick)

        label = "Leaving parts out ..." if METHODS[method].play else "Following the gradients ..."
        kept = results_of(*self.key, *question)
        found: Attribution | None = in_time(kept, "-".join((*self.key, *question)), label, work)
        return found

    def _explain(
        self, target: str, method: str, level: str, against: str, tick: Tick | None = None
    ) -> Attribution:
        seen: Look | Game | Gradients
        source = METHODS[method].source
        if source is Game:
            seen = self.game(level)
        elif source is Look:
            seen = self._look  # one pass for all labels and levels
        else:
            seen = self._gradients(target, method, against, tick)
        held = against or None

        def work() -> Attribution:
            return explain(
                self.checkpoint, self.tokens, target, method, level, seen=seen, against=held, tick=tick
            )

        if tick or source is not Game:  # in turn already, or nothing but sums
            return work()
        many = isinstance(seen, Game) and len(seen.parts.there) > FEW_PARTS
        return self._once("Leaving parts out ...", work, target, method, level, against, long=many)

    @property
    def _look(self) -> Look:
        def work() -> Look:
            return look(self.checkpoint, self.tokens, rollout=True)

        return self._once("Looking at what the answer is made of ...", work, "look")

    def _gradients(self, target: str, method: str, against: str, tick: Tick | None) -> Gradients:
        kept = results_of(*self.key, target, method, "gradients", against)
        if "result" not in kept:
            of = np.zeros(len(self.checkpoint.targets))
            of[self.checkpoint.row(target)] += 1
            if against:
                of[self.checkpoint.row(against)] -= 1
            noisy = METHODS[method].noisy or 0
            kept["result"] = integrated_gradients(self.checkpoint, self.tokens, of, noisy=noisy, tick=tick)
        found: Gradients = kept["result"]
        return found

    def proof(self, why: Attribution) -> Proof:
        """How far a map may be believed."""
        kept, place = self._proofs(why), st.empty()
        while (proof := self.proof_soon(why, 0.25)) is None:
            ahead = LATER.place(kept)
            place.info(f"Putting the map to the proof ...{f' place {ahead} in line' if ahead else ''}")
        place.empty()
        return proof

    def proof_soon(self, why: Attribution, wait: float | None = None) -> Proof | None:
        """The same; None where it is not there after `wait` s, and goes on being made.

        wait : None = `PATIENCE`, or not at all while another's stands before it
        """
        checkpoint, tokens, game = self.checkpoint, self.tokens, self.game(why.level)

        def work() -> Proof:
            return prove(checkpoint, tokens, why, game, disturbances=DISTURBANCES)

        if wait is None:
            wait = 0.0 if LATER.busy else PATIENCE
        found: Proof | None = LATER.ask(self._proofs(why), work, wait)
        return found

    def _proofs(self, why: Attribution) -> dict[str, Any]:
        failed = ",".join(self.checkpoint.faithfulness.get("unusable", ()))
        return results_of(*self.key, why.target, why.method, why.level, why.against, "proof", failed)

    def reconstruct(self, hidden: NDArray[np.bool_]) -> tuple[Reconstruction, Reconstruction]:
        """The hidden tokens as the model has them, and as its linear regression alone has them."""

        def work() -> tuple[Reconstruction, Reconstruction]:
            return reconstruct_both(self.checkpoint, self.tokens, hidden)

        return self._once("Rebuilding the hidden beats ...", work, "rebuilt", _digest(hidden))

    @property
    def ranking(self) -> list[int]:
        """Rows of the diagnosis: the tasks in the checkpoint's order, in each the most probable first."""
        order = [task.name for task in self.checkpoint.tasks]
        task = np.array([order.index(name) for name in self.diagnosis.tasks])
        return np.lexsort((-self.diagnosis.probabilities, task)).tolist()

    @property
    def called_targets(self) -> list[str]:
        """task/label of each called label."""
        return [self.checkpoint.targets[row] for row in np.flatnonzero(self.diagnosis.called)]

    def words(self, row: int) -> str:
        """Row of the diagnosis -> the label in plain words."""
        return self.checkpoint.description[self.checkpoint.targets[row]]

    def words_of(self, target: str) -> str:
        """task/label -> the label in plain words."""
        return self.checkpoint.description[target]

    @property
    def target(self) -> str:
        """The label that the address names, or the most probable one of the first task."""
        targets = self.checkpoint.targets
        return choice("target", targets, targets[self.ranking[0]])

    @property
    def model_card(self) -> str:
        card = checkpoint_folders()[self.model] / "README.md"
        return (
            card.read_text(encoding="utf-8") if card.is_file() else "This checkpoint carries no model card."
        )

    @property
    def unit(self) -> str:
        return "mV" if self.ecg.units_known else "arbitrary units"

    @property
    def is_long(self) -> bool:
        return self.ecg.duration > WINDOW_SECONDS + 0.5

    def last_start(self, seconds: float) -> int:
        """The last second at which a stretch of so many may begin; 0 where all of the record is one."""
        return int(np.ceil(self.ecg.duration - seconds)) if self.ecg.duration > seconds + 0.5 else 0

    def stretch(self, seconds: float = WINDOW_SECONDS) -> tuple[float, float]:
        """(start, seconds) of what to show; a longer record gets a slider for it."""
        last = self.last_start(seconds)
        if not last:
            return 0.0, seconds
        keep_in(START, 0, last)
        label = f"{seconds:g} s of {self.ecg.duration:.0f} s, from second"
        return float(st.slider(label, 0, last, key=START, bind="query-params")), seconds
