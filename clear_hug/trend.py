"""Along a long record: heart rate and signal quality of each 10 s, and where to look first.

`read_on(record, trend)` reads some minutes more and gives back what is known then: a trend can be shown while
it grows, left, and gone on with. What is read next lies where least is known, so that a few pieces already
show the day. Nothing of the signal is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import ECG, ECGError, cut, freeze, window_edges
from clear_hug.io import LongRecord, NoSample
from clear_hug.qrs import detect_qrs
from clear_hug.quality import DOUBTFUL, assess_quality

PIECE = 300.0  # s, read at a time
MARGIN = 10.0  # s on both sides of a piece: no beat is cut by its edge, and the first has one before it
APART = 60.0  # s between two windows of one list: others beside it show by themselves
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trend:
    """A record along its whole length, as far as it has been read.

    Attributes
    ----------
    edges : (window + 1,) s, about 10 s apart
    quality : (window,) 0 to 1, of `assess_quality`; 0 where nothing was recorded, NaN where not read
    rate : (window,) beats/min by the median of the RR intervals that end there; NaN without any
    longest : (window,) s, the longest of them
    beats : (window,) how many there are; -1 where not read yet, or where the file could not be read
    read : how many pieces of `PIECE` have been tried
    """

    edges: Floats
    quality: Floats
    rate: Floats
    longest: Floats
    beats: NDArray[np.int64]
    read: int = 0

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def seconds(self) -> float:
        return float(self.edges[-1])

    @property
    def share(self) -> float:
        """0 to 1, how much has been read."""
        return self.read / (_pieces(self.seconds).size - 1)

    @property
    def done(self) -> bool:
        return self.share >= 1

    @property
    def known(self) -> NDArray[np.bool_]:
        """(window,) True where the record has been read."""
        return self.beats >= 0

    @property
    def sound(self) -> NDArray[np.bool_]:
        """(window,) True where a reader would rather accept the signal; False where not read."""
        return self.quality >= DOUBTFUL

    @property
    def doubtful(self) -> float:
        """Share of the windows that a reader would rather not accept; NaN before the first."""
        known = self.sound[self.known]
        return float(np.mean(~known)) if known.size else float("nan")

    @property
    def without_beats(self) -> float:
        """Share of the windows in which no beat was found; NaN before the first."""
        known = self.beats[self.known]
        return float(np.mean(known == 0)) if known.size else float("nan")


def _pieces(seconds: float) -> Floats:
    """Edges (piece + 1,) s of what is read at a time; a short rest is part of the last one."""
    edges = np.arange(0.0, seconds, PIECE)
    if edges.size > 1 and seconds - edges[-1] < PIECE / 2:
        edges = edges[:-1]
    return np.append(edges, seconds)


def nothing_read(seconds: float) -> Trend:
    """The trend of a record of some length before any of it was read."""
    pieces = _pieces(seconds)
    edges = [a + window_edges(b - a)[:-1] for a, b in zip(pieces[:-1], pieces[1:], strict=True)]
    at = np.append(np.concatenate(edges), seconds)
    n = at.size - 1
    return Trend(at, np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan), np.full(n, -1))


def _order(n: int) -> list[int]:
    """0 to n - 1 so that those which come first lie evenly: 0, n / 2, n / 4, 3 n / 4, n / 8 ..."""
    bits = max(1, (n - 1).bit_length())
    return [k for k in (int(f"{i:0{bits}b}"[::-1], 2) for i in range(1 << bits)) if k < n]


def read_on(record: LongRecord, trend: Trend) -> Trend:
    """The trend with one more piece of the record read."""
    if trend.done:
        return trend
    pieces = _pieces(trend.seconds)
    piece = _order(pieces.size - 1)[trend.read]
    start, stop = pieces[piece : piece + 2].tolist()
    rows = slice(*np.searchsorted(trend.edges, [start, stop]))
    windows = trend.edges[rows.start : rows.stop + 1]
    quality, r_peaks = np.zeros(windows.size - 1), np.empty(0)
    begin = max(0.0, start - MARGIN)
    try:
        ecg = record.read(begin, stop + MARGIN - begin)
        found = detect_qrs(ecg.signal, ecg.fs)
        quality = _quality(cut(ecg, start - begin, stop - begin), found, start - begin, windows - start)
        r_peaks = begin + found / ecg.fs
    except NoSample:
        pass
    except ECGError:  # what cannot be read is not known, however often it is tried
        return replace(trend, read=trend.read + 1)
    rate, longest = np.full(quality.size, np.nan), np.full(quality.size, np.nan)
    gaps, window = np.diff(r_peaks), np.searchsorted(windows, r_peaks, side="right") - 1
    for k in range(quality.size):
        if (ended := gaps[window[1:] == k]).size:
            rate[k], longest[k] = 60 / np.median(ended), ended.max()
    inside = window[(window >= 0) & (window < quality.size)]
    beats = np.bincount(inside, minlength=quality.size)

    def with_new(before: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
        out = before.copy()
        out[rows] = new
        return out

    return Trend(
        trend.edges,
        with_new(trend.quality, quality),
        with_new(trend.rate, rate),
        with_new(trend.longest, longest),
        with_new(trend.beats, beats),
        trend.read + 1,
    )


def _quality(piece: ECG, found: NDArray[np.int64], begins: float, windows: Floats) -> Floats:
    """(window,) quality of the windows (s of the piece).

    found : R peaks, in samples of a stretch that starts `begins` s before the piece
    """
    r_peaks = found - round(begins * piece.fs)
    judged = assess_quality(piece, r_peaks[(r_peaks >= 0) & (r_peaks < piece.n_samples)])
    return judged.by_window[np.searchsorted(judged.windows[:-1, 1], (windows[1:] + windows[:-1]) / 2)]


# Where to look first


class Place(NamedTuple):
    """A window of a list: where it starts, in s, and the value that brought it there."""

    start: float
    value: float


def places(trend: Trend, by: str, most: int = 3) -> list[Place]:
    """The windows that a key of `LISTS` puts first, at least `APART` from one another."""
    value, first = LISTS[by].of(trend), LISTS[by].first
    order = np.argsort(value if first == "low" else -value, kind="stable")
    found: list[Place] = []
    for row in order[np.isfinite(value[order])]:
        start = float(trend.edges[row])
        if all(abs(start - place.start) >= APART for place in found):
            found.append(Place(start, float(value[row])))
        if len(found) == most:
            break
    return found


def _only_sound(trend: Trend, value: Floats) -> Floats:
    """Values of windows that a reader would accept: rates in noise are those of the noise."""
    return np.where(trend.sound, value, np.nan)


def _sound_pauses(trend: Trend) -> Floats:
    """The longest RR interval of each window, where the signal was sound from beat to beat."""
    longest, sound = _only_sound(trend, trend.longest), trend.sound
    for row in np.flatnonzero(np.isfinite(longest)):
        first = np.searchsorted(trend.edges, trend.edges[row] - longest[row], side="right") - 1
        if not sound[max(0, first) : row].all():
            longest[row] = np.nan
    return longest


class _List(NamedTuple):
    """What windows are listed by: (trend) -> (window,) values, which come first, and the unit."""

    of: Callable[[Trend], Floats]
    first: str
    unit: str


LISTS: dict[str, _List] = {
    "Lowest quality": _List(lambda trend: trend.quality, "low", ""),
    "Fastest": _List(lambda trend: _only_sound(trend, trend.rate), "high", "beats/min"),
    "Slowest": _List(lambda trend: _only_sound(trend, trend.rate), "low", "beats/min"),
    "Longest RR interval": _List(_sound_pauses, "high", "s"),
}
"""What windows are listed by -> how."""
