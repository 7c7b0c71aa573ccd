"""Shared by all tests: simulated ECGs, random batches, and a tiny checkpoint of random weights."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from clear_hug.batch import Beats
from clear_hug.beats import BeatTokens, tokenize_beats
from clear_hug.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from clear_hug.diagnosis import diagnose, pick_device
from clear_hug.ecg import ECG
from clear_hug.explain import explain
from clear_hug.hug import HUG
from clear_hug.model import CLEAR, CLEARHUG, PRESETS, CLEARConfig
from clear_hug.regression import N_READ
from clear_hug.removal import Game, parts_of
from clear_hug.simulate import simulate_ecg
from clear_hug.tasks import TASKS
from tests.simulated_ptbxl import write_folder

if pick_device().type == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # where it is installed; it looks at this when it is imported
torch.set_num_threads(1)  # a tiny model gains nothing from more, and the machine is shared


@cache
def _simulated(kind: str, seed: int, settings: tuple) -> ECG:
    return simulate_ecg(kind, seed, **dict(settings))


@cache
def _tokens(kind: str, seed: int, settings: tuple) -> BeatTokens:
    return tokenize_beats(_simulated(kind, seed, settings))


@pytest.fixture(scope="session")
def simulated() -> Callable[..., ECG]:
    """simulated(kind, seed, **settings) -> ECG, made once."""
    return lambda kind="normal", seed=0, **settings: _simulated(kind, seed, tuple(sorted(settings.items())))


@pytest.fixture(scope="session")
def tokens_of() -> Callable[..., BeatTokens]:
    """tokens_of(kind, seed, **settings) -> BeatTokens of a simulated ECG, made once."""
    return lambda kind="normal", seed=0, **settings: _tokens(kind, seed, tuple(sorted(settings.items())))


@pytest.fixture(scope="session")
def tokens(tokens_of: Callable[..., BeatTokens]) -> BeatTokens:
    return tokens_of("normal")


def _random_model(config: CLEARConfig, n_labels: int, per_lead: bool = True, seed: int = 0) -> CLEARHUG:
    """A model whose every part has a say: no bias, embedding or reference is left at zero."""
    torch.manual_seed(seed)
    model = CLEARHUG(CLEAR(replace(config, centres=8)), HUG(config.width, n_labels, per_lead))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "hug.rhythm":
                parameter.add_(torch.randn_like(parameter) * 0.1)
        model.hug.head.weight.mul_(5)
        model.hug.reference.normal_()
        model.facts.usual.uniform_(0, 1)  # mV; R and S are none below 0
        model.facts.usual_rhythm.fill_(0.1)
        model.hug.voltage.normal_()
        regression = model.clear.regression
        for moments, share in ((regression.shared, 0.8), (regression.own, 0.2)):
            made = torch.randn(2, N_READ, 4 * N_READ)
            moments.copy_(share * made @ made.mT / made.shape[2])
        for name, buffer in model.clear.kernel.named_buffers():
            buffer.fill_(1e3) if name == "reach" else buffer.normal_(std=0.1)
        model.hug.rhythm.normal_(std=0.5)
        model.hug.straight.normal_(std=0.1)
        model.hug.qtc.normal_(std=0.1)
    return model.eval()


@pytest.fixture(scope="session")
def random_model() -> Callable[..., CLEARHUG]:
    """random_model(config or preset, n_labels, per_lead, seed) -> CLEARHUG in evaluation mode."""

    def make(
        config: CLEARConfig | str = "tiny", n_labels: int = 5, per_lead: bool = True, seed: int = 0
    ) -> CLEARHUG:
        return _random_model(PRESETS[config] if isinstance(config, str) else config, n_labels, per_lead, seed)

    return make


@pytest.fixture(scope="session")
def random_beats() -> Callable[..., Beats]:
    """random_beats(batch, beats, seed, units_known) -> Beats with every token there."""

    def make(batch: int = 1, beats: int = 6, seed: int = 0, units_known: bool = True) -> Beats:
        generator = torch.Generator().manual_seed(seed)
        inside = torch.ones(batch, beats, 96, dtype=torch.bool)
        inside[:, ::2, :10] = False
        lead = 0.1 + torch.rand(batch, 12, 1, 1, generator=generator)
        values = lead * torch.randn(batch, 12, beats, 96, generator=generator) * inside[:, None]
        gaps = 0.4 + torch.rand(batch, beats, generator=generator)
        return Beats(
            values,
            torch.ones(batch, 12, beats, dtype=torch.bool),
            gaps.cumsum(1),
            inside,
            torch.full((batch,), units_known),
        )

    return make


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved checkpoint: the tiny preset, random weights, the superdiagnostic task."""
    tasks = (TASKS["superdiagnostic"],)
    n = len(tasks[0].labels)
    rng = np.random.default_rng(0)
    return save_checkpoint(
        tmp_path_factory.mktemp("checkpoints") / "tiny",
        _random_model(PRESETS["tiny"], n),
        tasks,
        platt=np.stack([rng.uniform(0.5, 1.5, n), rng.normal(size=n)], axis=1),
        thresholds=rng.uniform(0.2, 0.8, n),
        training={"stage": "none"},
        metrics={"macro_auroc": 0.5},
    )


@pytest.fixture(scope="session")
def checkpoint(checkpoint_folder: Path) -> Checkpoint:
    return load_checkpoint(checkpoint_folder)


@pytest.fixture(scope="session")
def explained(
    checkpoint: Checkpoint, simulated: Callable[..., ECG], tokens_of: Callable[..., BeatTokens]
) -> Callable[..., tuple]:
    """explained(kind, method, level) -> all that an export takes, one Attribution last; explained once."""
    known: dict = {}

    def make(
        kind: str = "normal",
        method: str = "hug",
        level: str | None = None,
        hidden: np.ndarray | None = None,
        against: str | None = None,
    ) -> tuple:
        ecg, tokens = simulated(kind), tokens_of(kind)
        asked = kind, method, level, against, None if hidden is None else hidden.tobytes()
        if asked not in known:
            known[asked] = explain(checkpoint, tokens, "MI", method, level, hidden, against=against)
        return checkpoint, ecg, tokens, diagnose(checkpoint, tokens, hidden), known[asked]

    return make


@pytest.fixture
def game(checkpoint: Checkpoint, tokens: BeatTokens) -> Callable[..., Game]:
    """game(level, hidden) -> the normal ECG taken apart."""
    return lambda level, hidden=None: Game(checkpoint, tokens, parts_of(tokens, level, hidden))


@pytest.fixture(scope="session")
def one_lead_and_beat(tokens: BeatTokens) -> np.ndarray:
    """(12, beat) of the normal ECG: V1 and beat 3."""
    hidden = np.zeros_like(tokens.valid)
    hidden[6], hidden[:, 2] = True, True
    return hidden


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for indices that no other test writes to."""
    monkeypatch.setenv("CLEAR_HUG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine simulated records in PTB-XL's layout, of which number 7 is flat, and a file that is no ECG."""
    folder = write_folder(tmp_path / "data", n=10)
    (folder / "Doe_Jane.dcm").write_bytes(b"no ECG at all" * 20)
    return folder


@pytest.fixture(scope="session")
def some_hidden(tokens: BeatTokens) -> np.ndarray:
    """(12, beat) of the normal ECG: V1, beat 3 and one token more."""
    hidden = np.zeros_like(tokens.valid)
    hidden[6], hidden[:, 2], hidden[0, 4] = True, True, True
    return hidden


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """45 simulated records in PTB-XL's layout, folds 1-9, two of which cannot be read."""
    return write_folder(tmp_path_factory.mktemp("data") / "ptbxl")


@pytest.fixture(scope="session")
def corpus(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shards of `source`."""
    from clear_hug.train.prepare import prepare

    out = tmp_path_factory.mktemp("corpus")
    prepare([source], out, workers=1)
    return out
