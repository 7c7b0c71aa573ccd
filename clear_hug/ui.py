"""What every page shares: open_page, the records to choose from, caches, messages.

The only streamlit import in the package. A choice (record, detector, checkpoint, label) stands in the
address of the page, so that a link shows what its sender saw; an uploaded ECG never does, and lives in
its own session alone. Results live in caches keyed by the digest of the record and of the checkpoint.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from clear_hug.beats import BeatTokens, NoBeats, tokenize_beats
from clear_hug.checkpoint import (
    CHECKPOINTS,
    Checkpoint,
    CheckpointError,
    list_checkpoints,
    load_checkpoint,
)
from clear_hug.diagnosis import Diagnosis, diagnose, pick_device
from clear_hug.ecg import ECG, WINDOW_SECONDS, ECGError
from clear_hug.explain import METHODS, Attribution, Look, explain, look
from clear_hug.faithfulness import CONTRADICTED, SUPPORTED, Proof, prove
from clear_hug.gradients import Gradients, integrated_gradients
from clear_hug.io import EXTENSIONS, find_records, read_ecg, read_ecg_upload
from clear_hug.leads import GROUPS, LEADS
from clear_hug.measure import BeatFacts, measure_beats
from clear_hug.qrs import DETECTORS
from clear_hug.reconstruct import Reconstruction, reconstruct
from clear_hug.removal import Game, Tick, TooManyParts, parts_of
from clear_hug.runs import FILES, TrainingRun, find_runs, newest_first, read_run, runs_folder
from clear_hug.simulate import SIMULATED, TITLES
from clear_hug.words import NOTICE, facts, missing

APP = "CLEAR-HUG Explorer"
HOME = "app.py"
UPLOADS = "uploads"  # session_state: id -> ECG, of this session alone
UPLOAD_SHOWN = {"record": "upload_shown", "with_record": "upload_beside"}  # session_state: ids looked at
MOST_UPLOADS = 5
IN_STEPS = ("shapley", "exact_shapley")  # methods that take so long that they tell how far they are
DISTURBANCES = 3  # times that a map is made anew with slight noise, for its proof
MOST_OPTIONS = 2000  # in one menu; above it a search field narrows the list
log = logging.getLogger(__name__)


# Records: where they come from and what they are called


@dataclass(frozen=True)
class Record:
    """An ECG that can be opened.

    id : in links;  title : for people, and says "simulated" where it is;  kind : a key of `KINDS`
    path : of a record in the folder
    """

    id: str
    title: str
    kind: str
    path: str = ""


KINDS = {"built in": "built in", "folder": "from the folder", "upload": "your file"}
DEFAULT_RECORD = "real"
_BUILT_IN = {
    DEFAULT_RECORD: Record(DEFAULT_RECORD, "real: the 12-lead ECG that pydicom carries", "built in"),
    **{f"simulated-{kind}": Record(f"simulated-{kind}", TITLES[kind], "built in") for kind in SIMULATED},
}


def data_folder() -> str:
    """The folder named by CLEAR_HUG_DATA, or ""."""
    return os.environ.get("CLEAR_HUG_DATA", "")


@st.cache_data(ttl=60, max_entries=4, show_spinner="Listing the folder ...")
def _folder_records(folder: str) -> dict[str, Record]:
    """Ids are hashes: a file's name may be a patient's, and a link must not carry it."""
    records = {}
    for path in find_records(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        key = "folder-" + hashlib.sha256(path.relative_to(folder).as_posix().encode()).hexdigest()[:16]
        records[key] = Record(key, name, "folder", str(path))
    return records


def list_records() -> dict[str, Record]:
    """All that this session may open: id -> Record, built in first, then its uploads, then the folder."""
    uploads = {
        key: Record(key, ecg.record_id or "your file", "upload")
        for key, ecg in st.session_state.get(UPLOADS, {}).items()
    }
    try:
        folder = _folder_records(data_folder()) if data_folder() else {}
    except ECGError:
        folder = {}  # app.py says so
    return {**_BUILT_IN, **uploads, **folder}


@st.cache_resource(max_entries=32, show_spinner=False)
def _built_in(key: str) -> ECG:
    if key == DEFAULT_RECORD:
        from pydicom.data import get_testdata_file

        return read_ecg(str(get_testdata_file("waveform_ecg.dcm", download=False)))
    return SIMULATED[key.removeprefix("simulated-")]()


@st.cache_resource(max_entries=8, show_spinner="Reading the record ...")
def _from_folder(path: str, stamps: tuple[tuple[int, int], ...]) -> ECG:
    return read_ecg(path)


def _stamps(*paths: Path) -> tuple[tuple[int, int], ...]:
    """When each file was written and how long it is; a changed file is another key of a cache."""
    stats = [path.stat() for path in paths if path.exists()]
    return tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)


def read_record(record: Record) -> ECG:
    """The ECG of a record in `list_records()`."""
    if record.kind == "upload":
        return st.session_state[UPLOADS][record.id]
    if record.kind == "folder":
        path = Path(record.path)
        beside = [path.with_suffix(suffix) for suffix in (".dat", ".mat")] if path.suffix == ".hea" else []
        return _from_folder(record.path, _stamps(path, *beside))
    return _built_in(record.id)


def upload(files: Mapping[str, bytes]) -> str:
    """Keep an uploaded ECG in this session and show it; returns its id. Raises ECGError."""
    ecg = read_ecg_upload(files)
    key = f"upload-{ecg.digest[:16]}"
    others = {k: v for k, v in st.session_state.get(UPLOADS, {}).items() if k != key}
    st.session_state[UPLOADS] = dict([*others.items(), (key, ecg)][-MOST_UPLOADS:])
    choose(record=key)
    return key


# Choices: they stand in the address


def choose(**choices: str | None) -> None:
    """Write choices into the address of the page; None takes one out.

    An uploaded record is no part of an address: this session alone remembers that it is shown.
    """
    for name, value in choices.items():
        if name in UPLOAD_SHOWN:
            mine = value if value in st.session_state.get(UPLOADS, {}) else None
            st.session_state[UPLOAD_SHOWN[name]] = mine
            value = None if mine else value
        if value is None:
            st.query_params.pop(name, None)
        else:
            st.query_params[name] = value


def _choice(name: str, options: Sequence[str] | Mapping[str, Any], default: str) -> str:
    """What the address names, if it is there to be chosen."""
    asked = st.query_params.get(name)
    return asked if asked is not None and asked in options else default


def _warn_of(name: str, options: Sequence[str] | Mapping[str, Any]) -> None:
    """Say that what the address names is not there to be chosen."""
    asked = st.query_params.get(name)
    if asked and asked not in options:
        st.warning(
            say(f"This link names the {name} {asked[:80]!r}, which is not here; another one is shown.")
        )


# Caches: shared by all users, so keyed by the content and never by a name. What they hold is frozen.


def checkpoint_folders() -> dict[str, Path]:
    """Name -> folder: the one named by CLEAR_HUG_CHECKPOINT first, then those that ship."""
    folders = {name: CHECKPOINTS / name for name in list_checkpoints()}
    own = os.environ.get("CLEAR_HUG_CHECKPOINT")
    return {Path(own).name: Path(own), **folders} if own else folders


@st.cache_resource(max_entries=4, show_spinner="Loading the model ...")
def _checkpoint(folder: str, stamps: tuple[tuple[int, int], ...]) -> Checkpoint:
    checkpoint = load_checkpoint(folder)
    diagnose(checkpoint, tokenize_beats(_built_in("simulated-normal")))  # the first pass is the slow one
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
        _training_run(str(path), name, _stamps(*(path / file for file in FILES)))
        for name, path in found.items()
    )


# The page


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
        return _checkpoint(str(folder), _stamps(*(folder / file for file in files)))

    @property
    def _key(self) -> tuple[str, str, str]:
        return self.checkpoint.digest, self.ecg.digest, self.detector

    @cached_property
    def diagnosis(self) -> Diagnosis:
        return _diagnose(*self._key, self.checkpoint, self.tokens)

    @cached_property
    def beat_facts(self) -> BeatFacts:
        return measure_beats(self.tokens)

    def without(self, hidden: NDArray[np.bool_]) -> Diagnosis:
        """The diagnosis with the tokens of `hidden` (12, beat) left out."""
        return _diagnose_without(*self._key, hidden.tobytes(), self.checkpoint, self.tokens)

    def logit_without(self, hidden: NDArray[np.bool_], target: str, against: str = "") -> float:
        """The logit of a label, or how far it stands above another's, with tokens left out."""
        logits, row = self.without(hidden).logits, self.checkpoint.row
        return float(logits[row(target)] - (logits[row(against)] if against else 0.0))

    def game(self, level: str) -> Game:
        return _game(*self._key, level, self.checkpoint, self.tokens)

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

        kept, label = _results(*self._key, *question), "Leaving parts out ..."
        found: Attribution | None
        if method in IN_STEPS:
            found = _in_time(kept, "-".join((*self._key, *question)), label, work)
        else:
            with st.spinner(label):
                found = kept["result"] if "result" in kept else work(lambda share: None)
            kept["result"] = found
        return found

    def _explain(
        self, target: str, method: str, level: str, against: str, tick: Tick | None = None
    ) -> Attribution:
        seen: Look | Game | Gradients
        source = METHODS[method].source
        if source is Game:
            seen = self.game(level)
        elif source is Look:
            seen = _look(*self._key, self.checkpoint, self.tokens)  # one pass for all labels and levels
        else:
            seen = self._gradients(target, method, against)
        held = against or None
        return explain(
            self.checkpoint, self.tokens, target, method, level, seen=seen, against=held, tick=tick
        )

    def _gradients(self, target: str, method: str, against: str) -> Gradients:
        kept = _results(*self._key, target, method, "gradients", against)
        if "result" not in kept:
            of = np.zeros(len(self.checkpoint.targets))
            of[self.checkpoint.row(target)] += 1
            if against:
                of[self.checkpoint.row(against)] -= 1
            noisy = METHODS[method].noisy or 0
            kept["result"] = integrated_gradients(self.checkpoint, self.tokens, of, noisy=noisy)
        found: Gradients = kept["result"]
        return found

    def proof(self, why: Attribution) -> Proof:
        """How far a map may be believed."""
        failed = ",".join(self.checkpoint.faithfulness.get("unusable", ()))
        kept = _results(*self._key, why.target, why.method, why.level, why.against, "proof", failed)
        if "result" not in kept:
            with st.spinner("Putting the map to the proof ..."):
                game = self.game(why.level)
                kept["result"] = prove(self.checkpoint, self.tokens, why, game, disturbances=DISTURBANCES)
        found: Proof = kept["result"]
        return found

    def reconstruct(self, hidden: NDArray[np.bool_]) -> Reconstruction:
        return _reconstruct(*self._key, hidden.tobytes(), self.checkpoint, self.tokens)

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
        return _choice("target", targets, targets[self.ranking[0]])

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
        _keep_in("start", 0, last)
        label = f"From second, of {self.ecg.duration:.0f} s"
        return float(st.slider(label, 0, last, 0, key="start", bind="query-params")), WINDOW_SECONDS


def open_page(title: str) -> Page:
    """The first line of every page: look, navigation, notice, and the record that it is about."""
    st.set_page_config(f"{title} · {APP}", layout="wide", initial_sidebar_state=230)
    st.html(_CSS)
    records = list_records()
    uploaded = st.session_state.get(UPLOAD_SHOWN["record"])
    chosen = _choice("record", records, uploaded if uploaded in records else DEFAULT_RECORD)
    detector = _choice("detector", DETECTORS, next(iter(DETECTORS)))
    folders = checkpoint_folders()
    model = _choice("model", folders, next(iter(folders), ""))
    record = records[chosen]

    with st.sidebar:
        st.html(f'<div class="brand">{APP}</div>')
        _navigation()
        _record_menu(records, chosen)
        _model_menu(folders, model)

    what = "" if record.kind == "built in" else f"{KINDS[record.kind]}: "
    st.html(
        f'<div class="head"><h1>{title}</h1><p>{_html(what + record.title)}</p><small>{NOTICE}</small></div>'
    )
    _warn_of("record", records)
    _warn_of("detector", DETECTORS)
    _warn_of("model", folders)
    return Page(record, detector, model, dark=st.context.theme.type == "dark")


@contextmanager
def guard(stop: bool = False) -> Iterator[None]:
    """Turn what goes wrong inside into one sentence on the page: the one place that does."""
    try:
        yield
        return
    except (NoBeats, TooManyParts) as error:
        st.warning(say(str(error)))
    except (ECGError, CheckpointError) as error:
        st.error(say(str(error)))
    except Exception:
        log.exception("a page failed")
        st.error(
            "Something unexpected went wrong here. The log of the app has the details; "
            "the record stays chosen, and the other pages still work."
        )
    if stop:
        st.stop()


def _navigation() -> None:
    here = st.query_params.to_dict()  # links carry the choices, so that a new tab shows the same record
    st.page_link(HOME, label="Home", query_params=here)
    for path in sorted((Path(__file__).parent.parent / "pages").glob("*.py")):
        label = re.sub(r"^\d+_", "", path.stem).replace("_", " ")
        st.page_link(f"pages/{path.name}", label=label, query_params=here)


def _record_menu(records: dict[str, Record], chosen: str) -> None:
    kind = records[chosen].kind
    options = [
        key
        for key, record in records.items()
        if record.kind != "folder" or kind == "folder" or len(records) < MOST_OPTIONS
    ]
    if len(options) > MOST_OPTIONS:
        at = max(0, options.index(chosen) - MOST_OPTIONS // 2)
        options = options[at : at + MOST_OPTIONS]
    _menu("Record", options, chosen, "record", "menu_record", lambda key: records[key].title)
    alike = [key for key, record in records.items() if record.kind == kind]
    at = alike.index(chosen)
    left, right = st.columns(2, wrap=False)
    left.button("Previous", on_click=choose, kwargs={"record": alike[at - 1]}, width="stretch",
                disabled=len(alike) < 2)  # fmt: skip
    right.button("Next", on_click=choose, kwargs={"record": alike[(at + 1) % len(alike)]}, width="stretch",
                 disabled=len(alike) < 2)  # fmt: skip


def _model_menu(folders: dict[str, Path], model: str) -> None:
    if len(folders) > 1:
        _menu("Model", list(folders), model, "model", "menu_model", str)
    device = {"cpu": "CPU", "cuda": "GPU (CUDA)", "mps": "GPU (MPS)"}[pick_device().type]
    st.caption(f"Model: {say(model) or 'none'} · runs on: {device}")


# Menus


def choices(label: str, options: Sequence[Any], key: str, default: Any = None) -> Any:
    """A row of buttons, one of which is always pressed."""
    first = options[0] if default is None else default
    chosen = st.segmented_control(label, options, default=first, required=True, key=key, bind="query-params")
    return first if chosen is None else chosen  # an address may say "?key="


def menu(label: str, options: Sequence[str], key: str, default: str | None = None) -> str:
    """A menu in which one option is always chosen."""
    index = options.index(default) if default else 0
    return st.selectbox(label, options, index, key=key, bind="query-params") or options[index]


def several(label: str, options: Sequence[str], key: str, default: Sequence[str], most: int) -> list[str]:
    """A menu in which up to `most` options are chosen."""
    chosen = st.multiselect(label, options, default, key=key, bind="query-params", max_selections=most)
    return [option for option in chosen if option in options]


def number(label: str, key: str, low: int, high: int, default: int) -> int:
    """A whole number; what another record left there is brought into range."""
    _keep_in(key, low, high)
    return int(st.number_input(label, low, high, default, key=key, bind="query-params"))


def _keep_in(key: str, low: int, high: int) -> None:
    value = st.session_state.get(key)
    if isinstance(value, int) and not low <= value <= high:
        st.session_state[key] = min(max(value, low), high)


def _menu(
    label: str, options: Sequence[str], chosen: str, name: str, key: str, words: Callable[[str], str]
) -> str:
    """A menu that stands at `chosen` and writes the choice `name` into the address."""
    st.session_state[key] = chosen
    st.selectbox(label, options, format_func=words, key=key, on_change=_chosen, args=(key, name))
    return chosen


def _chosen(key: str, name: str) -> None:
    if st.session_state[key] is not None:
        choose(**{name: st.session_state[key]})


def detector_menu(page: Page) -> None:
    _menu("Beats found by", list(DETECTORS), page.detector, "detector", "menu_detector", _detector_words)


def _detector_words(name: str) -> str:
    known = {
        "clear": "CLEAR-HUG's own, all leads",
        "neurokit": "neurokit2, one lead",
        "xqrs": "XQRS, one lead",
    }
    return known.get(name, name)


def target_menu(page: Page) -> str:
    """The label to look at; the most probable one of the first task, until another is chosen."""
    _warn_of("target", page.checkpoint.targets)
    order = [page.checkpoint.targets[row] for row in page.ranking]
    chance = dict(zip(page.checkpoint.targets, page.diagnosis.probabilities, strict=True))

    def words(target: str) -> str:
        task = f"{target.split('/')[0]}: " if len(page.checkpoint.tasks) > 1 else ""
        return f"{task}{page.checkpoint.description[target]} ({chance[target]:.0%})"

    return _menu("Label", order, page.target, "target", "menu_target", words)


def against_menu(page: Page, target: str) -> str:
    """A label of the same task that `target` is held against; "" for none."""
    task = target.split("/")[0]
    names = {
        "": "nothing: why at all",
        **{
            page.checkpoint.targets[row]: page.words(row)
            for row in page.ranking
            if page.diagnosis.tasks[row] == task and page.checkpoint.targets[row] != target
        },
    }
    _warn_of("against", names)
    asked = st.query_params.get("against", "")
    return _menu("Rather than", list(names), asked if asked in names else "", "against", "menu_against",
                 lambda key: names[key])  # fmt: skip


def other_menu(label: str, options: Sequence[str], name: str, words: Callable[[str], str]) -> str:
    """A menu that writes the choice `name` into the address; the first option, until another is chosen."""
    chosen = _choice(name, options, options[0])
    return _menu(label, options, chosen, name, f"menu_{name}", words)


def other_record(page: Page) -> Page:
    """The page of another record, chosen by a menu: of those built in, and of the same kind."""
    kinds = {"built in", page.record.kind}
    records = {
        key: record
        for key, record in list_records().items()
        if record.kind in kinds and key != page.record.id
    }
    options = list(records)[:MOST_OPTIONS]
    mine = st.session_state.get(UPLOAD_SHOWN["with_record"])
    chosen = mine if mine in records else _choice("with_record", options, options[0])
    key = _menu("With", options, chosen, "with_record", "menu_with_record", lambda key: records[key].title)
    return replace(page, record=records[key])


OFF = ("off_groups", "off_leads", "off_beats")  # what is switched off, in the address
TOKEN = "token_chosen"  # session_state: (record and label, row of the lead, row of the beat)
PAST = "off_before"  # session_state: what was switched off before, the last at the end
MOST_PILLS = 24


def switches(page: Page) -> NDArray[np.bool_]:
    """Buttons, kept in the link, that switch groups, leads and beats off; (12, beat) bool, what is off."""
    tokens = page.tokens
    beats = [str(k) for k in range(1, tokens.n_beats + 1)]
    options = dict(zip(OFF, (list(GROUPS), list(LEADS), beats), strict=True))
    labels = dict(zip(OFF, ("Groups off", "Leads off", "Beats off"), strict=True))
    if st.session_state.get(f"{PAST}_of", page.ecg.digest) != page.ecg.digest:  # another record's
        st.session_state[PAST], st.session_state["off_beats"] = [], []
    st.session_state[f"{PAST}_of"] = page.ecg.digest
    off: dict[str, list[str]] = {}
    for place, (key, names) in zip(st.columns([2.6, 4, 4]), options.items(), strict=True):
        if any(name not in names for name in st.session_state.get(key) or []):  # of another record
            st.session_state[key] = [name for name in st.session_state[key] if name in names]
        how: dict[str, Any] = {"key": key, "on_change": _remember, "bind": "query-params"}
        if len(names) > MOST_PILLS:
            off[key] = place.multiselect(labels[key], names, **how)
        else:
            off[key] = place.pills(labels[key], names, selection_mode="multi", wrap=True, **how) or []
    undo, back, _ = st.columns([1, 1, 6])
    past = st.session_state.setdefault(PAST, [])
    undo.button("Undo", on_click=_undo, disabled=not past, width="stretch")
    back.button("All back on", on_click=_all_on, disabled=not any(off.values()), width="stretch")
    st.session_state[f"{PAST}_now"] = off
    hidden = np.zeros_like(tokens.valid)
    for group in off["off_groups"]:
        hidden[list(GROUPS[group])] = True
    hidden[[LEADS.index(lead) for lead in off["off_leads"]]] = True
    hidden[:, [int(beat) - 1 for beat in off["off_beats"]]] = True
    return hidden


def _remember() -> None:
    st.session_state.setdefault(PAST, []).append(st.session_state.get(f"{PAST}_now", {}))


def _undo() -> None:
    past = st.session_state.get(PAST)
    for key, value in (past.pop() if past else {}).items():
        st.session_state[key] = value


def _all_on() -> None:
    _remember()
    for key in OFF:
        st.session_state[key] = []


def chosen_token(page: Page, values: NDArray[np.float64]) -> tuple[int, int]:
    """(row of the lead, row of the beat) that was clicked on, or that which counts most."""
    event, record = st.session_state.get("tokens"), (*page._key, page.target)
    for point in event["selection"]["points"] if event else []:
        held = point["customdata"]  # what is sent as a row comes back as {"0": row, "1": beat}
        row, beat = (int(k) for k in (held.values() if hasattr(held, "values") else held))
        st.session_state[TOKEN] = (record, row, beat)  # the figure is drawn anew, and forgets its selection
    of, row, beat = st.session_state.get(TOKEN, ((), 0, 0))
    if of == record and beat < page.tokens.n_beats and page.tokens.valid[row, beat]:
        return row, beat
    most = int(np.nanargmax(np.abs(values)))
    return most // values.shape[1], most % values.shape[1]


def pick_token(figure: Any, key: str, alt: str) -> None:
    """Draw a figure whose markers can be clicked on; see `chosen_token`."""
    st.plotly_chart(
        figure,
        width="stretch",
        theme=None,
        key=key,
        config=_CHART,
        alt=alt,
        on_select="rerun",
        selection_mode="points",
    )


def download(label: str, data: Callable[[], bytes], name: str, mime: str) -> None:
    """A button that makes a file when it is pressed."""
    st.download_button(label, data, name, mime, on_click="ignore", width="stretch")


def pick_built_in(page: Page) -> None:
    chosen = page.record.id if page.record.id in _BUILT_IN else None
    _menu_or_none("Built in", list(_BUILT_IN), chosen, "pick_built_in", lambda key: _BUILT_IN[key].title)


def pick_from_folder(page: Page) -> None:
    if not data_folder():
        st.markdown("**A folder of your own**")
        st.caption(say("Set CLEAR_HUG_DATA to a folder of ECG files before the start to list them here."))
        return
    records = _folder_records(data_folder())
    if not records:
        st.info("The folder named by CLEAR_HUG_DATA holds no ECG file.")
        return
    wanted = ""
    if len(records) > MOST_OPTIONS:
        wanted = st.text_input("Search the folder", placeholder="part of a name").lower()
    found = [key for key, record in records.items() if wanted in record.title.lower()]
    chosen = page.record.id if page.record.id in found else None
    label = f"From the folder ({len(found)} record{'' if len(found) == 1 else 's'})"
    _menu_or_none(label, found[:MOST_OPTIONS], chosen, "pick_folder", lambda key: records[key].title)


def _menu_or_none(
    label: str, options: Sequence[str], chosen: str | None, key: str, words: Callable[[str], str]
) -> None:
    st.session_state[key] = chosen
    st.selectbox(label, options, index=None, format_func=words, key=key, on_change=_chosen,
                 args=(key, "record"), placeholder="Type to search ...")  # fmt: skip


def pick_upload() -> None:
    """An uploader; what cannot be read is said in a sentence, and the record shown stays."""
    st.file_uploader(
        "Your file, or all files of a WFDB record",
        UPLOAD_TYPES,
        accept_multiple_files=True,
        key="uploader",
        on_change=_uploaded,
        help=f"One of {', '.join(UPLOAD_TYPES)}; a WFDB record needs its .hea and .dat at once. "
        "The file stays in this session, and is in no link.",
    )


def show_upload_error() -> None:
    """What was wrong with the last upload, in a sentence; until another one is tried."""
    if said := st.session_state.get("upload_failed"):
        st.error(say(said))


def _uploaded() -> None:
    files = st.session_state.get("uploader") or []
    st.session_state["upload_failed"] = ""
    if not files:
        return
    try:
        upload({file.name: file.getvalue() for file in files})
    except ECGError as error:
        st.session_state["upload_failed"] = str(error)
    except Exception:
        log.exception("an upload failed")
        st.session_state["upload_failed"] = "This file cannot be read. The log of the app has the details."


def link(page: str, label: str, **choices: str) -> None:
    """A link to another page that carries the choices made on this one."""
    st.page_link(f"pages/{page}.py", label=label, query_params={**st.query_params.to_dict(), **choices})


def show(figure: Any, key: str, alt: str) -> None:
    """Draw a figure over the whole width; `alt` says in words what it shows."""
    st.plotly_chart(figure, width="stretch", theme=None, key=key, config=_CHART, alt=alt)


def show_paper(figure: Any, key: str, alt: str) -> None:
    """Draw ECG paper as high as the width of the page makes it: a millimetre is as long as it is high."""
    x, y = figure.layout.xaxis, figure.layout.yaxis
    margin = figure.layout.margin
    shape = (y.range[1] - y.range[0]) * y.scaleratio / (x.range[1] - x.range[0])
    sides, ends = margin.l + margin.r, margin.t + margin.b
    st.html(
        f"<style>.st-key-paper_{key} "
        ':is(.stElementContainer, [data-testid="stFullScreenFrame"], .stPlotlyChart) '
        f"{{height: calc((100cqw - {sides}px) * {shape:.5f} + {ends}px) !important; flex: none !important}}"
        "</style>"
    )
    figure.update_layout(height=None, autosize=True)
    with st.container(key=f"paper_{key}"):
        show(figure, key, alt)


# What takes its time


def _in_time(kept: dict[str, Any], name: str, label: str, work: Callable[[Tick], Any]) -> Any:
    """The result of `work`, made once: with a bar and a button that stops it; None where it was stopped.

    Streamlit ends a run of the page when something on it is pressed, at the next word to the browser: so
    each tick is where a computation can be left. What the model was asked until then stays remembered.
    """
    if "result" in kept:
        return kept["result"]
    stopped = f"stopped-{name}"
    if st.session_state.get(stopped):
        st.info("Stopped. What was computed so far is kept.")
        st.button("Go on", key=f"go-on-{name}", on_click=_set, args=(stopped, False))
        return None
    place = st.empty()
    with place.container():
        bar, button = st.columns([6, 1], vertical_alignment="center")
        with bar:
            shown = st.progress(0.0, text=label)
        button.button("Stop", key=f"stop-{name}", on_click=_set, args=(stopped, True))
    try:
        kept["result"] = work(lambda share: _tick(shown, share, label))
    finally:
        place.empty()
    return kept["result"]


def _tick(shown: Any, share: float, label: str) -> None:
    shown.progress(share, text=f"{label} {share:.0%}")


def _set(key: str, value: Any) -> None:
    st.session_state[key] = value


# Words


def say(text: str) -> str:
    """Text as it is, with nothing in it read as Markdown (file names hold `_` and `*`)."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|$:~<>])", r"\\\1", text)


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def bullets(sentences: Iterable[str]) -> str:
    """Sentences as a Markdown list."""
    return "\n".join(f"- {say(sentence)}" for sentence in sentences)


def show_facts(ecg: ECG) -> None:
    """What is known of a record, and what was found odd in it."""
    for sentence in ecg.warnings:
        st.warning(say(sentence))
    st.markdown(" · ".join(f"**{say(name)}:** {say(value)}" for name, value in facts(ecg).items()))


def show_missing(page: Page) -> None:
    """What the model could not see of the record: it belongs beside every answer."""
    for sentence in missing(page.tokens):
        st.warning(say(sentence))


def trust_line(proof: Proof) -> None:
    """The one word on the map of leads, and the first reason for it; all of them where it is contradicted."""
    if proof.word == CONTRADICTED:
        st.error(f"**Contradicted: do not rely on the map of leads.** {say(' '.join(proof.reasons))}")
        return
    colour = {SUPPORTED: "green"}.get(proof.word, "orange")
    st.markdown(f":{colour}-badge[map of leads: {proof.word}] {say(proof.reasons[0])}")


def model_line(result: Diagnosis | Reconstruction | Attribution) -> None:
    """Which model answered, where, and how fast; and whether it went another way than asked."""
    st.caption(f"Model {say(result.model)} on {say(result.device)}, {1000 * result.seconds:.0f} ms.")
    if result.note:
        st.warning(say(result.note))


_CHART = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}
UPLOAD_TYPES = [extension.lstrip(".") for extension in (*EXTENSIONS, ".zip")]

_CSS = """<style>
.stMainBlockContainer {padding: 1rem 2rem 1.5rem}
.stAppHeader {height: 2.2rem; background: transparent}
[data-testid="stSidebarHeader"] {height: 1.6rem; margin-bottom: 0}
[data-testid="stSidebarContent"] {padding: 0 .9rem}
[data-testid="stSidebarUserContent"] {padding: 0 0 1rem}
.stSidebar .stButton button {padding: 0 .3rem; min-height: 2.1rem}
.stSidebar .stVerticalBlock {gap: .4rem}
.stSidebar [data-testid="stColumn"] {min-width: 0}
.stMainBlockContainer > .stVerticalBlock {gap: .5rem}
.stMainBlockContainer > .stVerticalBlock {container-type: inline-size}
.stMainBlockContainer h4 {font-size: 1.15rem; padding: .2rem 0}
.brand {font-weight: 650; letter-spacing: .01em}
.head {display: flex; align-items: baseline; gap: .9rem; flex-wrap: wrap}
.head h1 {font-size: 1.45rem; margin: 0; padding: 0}
.head p {font-size: 1rem; margin: 0}
.head small {opacity: .8}
[data-testid="stFileUploaderDropzone"] {padding: .25rem .4rem; min-height: 2.5rem}
[data-testid="stFileUploaderDropzoneInstructions"] {display: none}
[data-testid="stFileUploaderDropzone"] button {min-height: 1.9rem; padding: 0 .5rem}
</style>"""
