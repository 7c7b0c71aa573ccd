"""CLEAR-HUG: ECG beats, their reconstruction, a diagnosis, and why. Research use only.

>>> import clear_hug as ch
>>> tokens = ch.tokenize_beats(ch.simulate_ecg("normal"))
>>> tokens.values.shape[0], tokens.values.shape[2]
(12, 96)
"""

from clear_hug.beats import BeatTokens, NoBeats, tokenize_beats
from clear_hug.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from clear_hug.diagnosis import Diagnosis, diagnose
from clear_hug.ecg import ECG, ECGError, ecg_from_leads
from clear_hug.exchange import undo_reversal
from clear_hug.explain import Attribution, explain
from clear_hug.faithfulness import Proof, prove
from clear_hug.hug import HUG
from clear_hug.io import read_ecg
from clear_hug.leads import LEADS
from clear_hug.masked import MaskedCLEAR
from clear_hug.measure import Measurements, measure
from clear_hug.model import CLEAR, CLEARHUG, PRESETS, CLEARConfig
from clear_hug.qrs import detect_qrs
from clear_hug.quality import Quality, assess_quality
from clear_hug.reconstruct import Reconstruction, reconstruct
from clear_hug.simulate import simulate_ecg
from clear_hug.tasks import TASKS, Task

__all__ = [
    "CLEAR", "CLEARHUG", "ECG", "HUG", "LEADS", "PRESETS", "TASKS",
    "Attribution", "BeatTokens", "CLEARConfig", "Checkpoint", "CheckpointError", "Diagnosis", "ECGError",
    "MaskedCLEAR", "Measurements", "NoBeats", "Proof", "Quality", "Reconstruction", "Task",
    "assess_quality", "detect_qrs", "diagnose", "ecg_from_leads", "explain", "load_checkpoint", "measure",
    "prove", "read_ecg", "reconstruct", "save_checkpoint", "simulate_ecg", "tokenize_beats", "undo_reversal",
]  # fmt: skip
