"""Results, in caches shared by all users, and the `Page` that asks for them.

A cache is keyed by the content of the record and of the checkpoint, never by a name; what it holds is frozen.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from clear_hug.beats import BeatTokens, tokenize_beats
from clear_hug.checkpoint import (
    CHECKPOINTS,
    Checkpoint,
    CheckpointError,
    list_checkpoints,
    load_checkpoint,
)
from clear_hug.diagnosis import Diagnosis, Tick, diagnose
from clear_hug.ecg import ECG, WINDOW_SECONDS
from clear_hug.explain import METHODS, Attribution, Look, explain, look
from clear_hug.faithfulness import Proof, prove
from clear_hug.gradients import Gradients, integrated_gradients
from clear_hug.measure import BeatFacts, measure_beats
from clear_hug.reconstruct import Reconstruction, reconstruct
from clear_hug.removal import Game, parts_of
from clear_hug.runs import FILES, TrainingRun, find_runs, newest_first, read_run, runs_folder
from clear_hug.ui.menus import keep_in
from clear_hug.ui.records import Record, built_in, choice, read_record, stamps_of
from clear_hug.ui.show import in_time

DISTURBANCES = 3  # times that a map is made anew with slight noise, for its proof


def checkpoint_folders() -> dict[str, Path]:
    """Name -> folder: the one named by CLEAR_HUG_CHECKPOINT first, then those that ship."""
    folders = {name: CHECKPOINTS / name for name in list_checkpoints()}
    own = os.environ.get("CLEAR_HUG_CHECKPOINT")
    return {Path(own).name: Path(own), **folders} if own else folders


@st.cache_resource(max_entries=4, show_spinner="Loading the model ...")
def _checkpoint(folder: str, stamps: tuple[tuple[int, int], ...]) -> Checkpoint:
    checkpoint = load_checkpoint(folder)
    diagnose(checkpoint, tokenize_beats(built_in("simulated-normal")))  # the first pass is the slow one
    return checkpoint


@st.cache_resource(max_entries=32, show_spinner="Finding the beats ...")
def _tokens(digest: str, method: str, _ecg: ECG) -> BeatTokens:
    return tokenize_beats(_ecg, method)


@st.cache_resource(max_entries=256, show_spinner="Asking the model ...")
def _diagnose(
    model: str, digest: str, method: str, _checkpoint: Checkpoint, _tokens: BeatTokens
) -> Diagnosis:
    return diagnose(_checkpoint, _tokens)


@st.cache_resource(max_entries=256, show_spinner=False)
def _diagnose_without(
    model: str, digest: str, method: str, hidden: bytes, _checkpoint: Checkpoint, _tokens: BeatTokens
) -> Diagnosis:
    mask = np.frombuffer(hidden, dtype=bool).reshape(_tokens.valid.shape)
    return diagnose(_checkpoint, _tokens, mask)


@st.cache_resource(max_entries=64, show_spinner="Looking at what the answer is made of ...")
def _look(model: str, digest: str, method: str, _checkpoint: Checkpoint, _tokens: BeatTokens) -> Look:
    return look(_checkpoint, _tokens, rollout=True)


@st.cache_resource(max_entries=64, show_spinner=False)
def _game(
    model: str, digest: str, method: str, level: str, _checkpoint: Checkpoint, _tokens: BeatTokens
) -> Game:
    return Game(_checkpoint, _tokens, parts_of(_tokens, level))  # remembers what it was asked


@st.cache_resource(max_entries=256, show_spinner=False)
def _results(model: str, digest: str, method: str, *question: str) -> dict[str, Any]:
    """Where the result of one question is kept; a computation that was stopped leaves it empty."""
    return {}


@st.cache_resource(max_entries=64, show_spinner="Rebuilding the hidden beats ...")
def _reconstruct(
    model: str, digest: str, method: str, hidden: bytes, _checkpoint: Checkpoint, _tokens: BeatTokens
) -> Reconstruction:
    mask = np.frombuffer(hidden, dtype=bool).reshape(_tokens.valid.shape)
    return reconstruct(_checkpoint, _tokens, mask)


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
    """What a page is about: one record, seen by one detector and one checkpoint."""

    record: Record
    detector: str
    model: str
    dark: bool

    @cached_property
    def ecg(self) -> ECG:
        return read_record(self.record)

    @cached_property
    def tokens(self) -> BeatTokens:
        return _tokens(self.ecg.digest, self.detector, self.ecg)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        folder = checkpoint_folders().get(self.model)
        if folder is None:
            raise CheckpointError(
                "No checkpoint is there, so that this page has no model to ask. Put one into "
                "checkpoints/, or name its folder in CLEAR_HUG_CHECKPOINT, and start the app again."
            )
        files = ("model.safetensors", "config.json", "calibration.json", "faithfulness.json")
        return _checkpoint(str(folder), stamps_of(*(folder / file for file in files)))

    @property
    def key(self) -> tuple[str, str, str]:
        return self.checkpoint.digest, self.ecg.digest, self.detector

    @cached_property
    def diagnosis(self) -> Diagnosis:
        return _diagnose(*self.key, self.checkpoint, self.tokens)

    @cached_property
    def beat_facts(self) -> BeatFacts:
        return measure_beats(self.tokens)

    def without(self, hidden: NDArray[np.bool_]) -> Diagnosis:
        """The diagnosis with the tokens of `hidden` (12, beat) left out."""
        return _diagnose_without(*self.key, hidden.tobytes(), self.checkpoint, self.tokens)

    def logit_without(self, hidden: NDArray[np.bool_], target: str, against: str = "") -> float:
        """The logit of a label, or how far it stands above another's, with tokens left out."""
        logits, row = self.without(hidden).logits, self.checkpoint.row
        return float(logits[row(target)] - (logits[row(against)] if against else 0.0))

    def game(self, level: str) -> Game:
        return _game(*self.key, level, self.checkpoint, self.tokens)

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
        kept = _results(*self.key, *question)
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
            seen = _look(*self.key, self.checkpoint, self.tokens)  # one pass for all labels and levels
        else:
            seen = self._gradients(target, method, against, tick)
        held = against or None
        return explain(
            self.checkpoint, self.tokens, target, method, level, seen=seen, against=held, tick=tick
        )

    def _gradients(self, target: str, method: str, against: str, tick: Tick | None) -> Gradients:
        kept = _results(*self.key, target, method, "gradients", against)
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
        failed = ",".join(self.checkpoint.faithfulness.get("unusable", ()))
        kept = _results(*self.key, why.target, why.method, why.level, why.against, "proof", failed)
        if "result" not in kept:
            with st.spinner("Putting the map to the proof ..."):
                game = self.game(why.level)
                kept["result"] = prove(self.checkpoint, self.tokens, why, game, disturbances=DISTURBANCES)
        found: Proof = kept["result"]
        return found

    def reconstruct(self, hidden: NDArray[np.bool_]) -> Reconstruction:
        return _reconstruct(*self.key, hidden.tobytes(), self.checkpoint, self.tokens)

    @property
    def ranking(self) -> list[int]:
        """Rows of the diagnosis: the tasks in the checkpoint's order, in each the most probable first."""
        order = [task.name for task in self.checkpoint.tasks]
        task = np.array([order.index(name) for name in self.diagnosis.tasks])
        return np.lexsort((-self.diagnosis.probabilities, task)).tolist()

    def called(self) -> dict[str, list[int]]:
        """Task -> rows of its called labels, the most probable first; a task without any is left out."""
        rows: dict[str, list[int]] = {}
        for row in self.ranking:
            if self.diagnosis.called[row]:
                rows.setdefault(self.diagnosis.tasks[row], []).append(row)
        return rows

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

    def stretch(self) -> tuple[float, float]:
        """(start, seconds) of the 10 s to show; a long record gets a slider for it."""
        if not self.is_long:
            return 0.0, WINDOW_SECONDS
        last = int(np.ceil(self.ecg.duration - WINDOW_SECONDS))
        keep_in("start", 0, last)
        label = f"From second, of {self.ecg.duration:.0f} s"
        return float(st.slider(label, 0, last, 0, key="start", bind="query-params")), WINDOW_SECONDS
