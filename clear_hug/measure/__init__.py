"""What is measured: facts of each beat (`measure_beats`), and the values of a whole ECG (`measure`)."""

from clear_hug.measure.beats import BeatFacts, measure_beats
from clear_hug.measure.values import Measurements, MedianBeat
from clear_hug.measure.whole import measure

__all__ = ["BeatFacts", "Measurements", "MedianBeat", "measure", "measure_beats"]
