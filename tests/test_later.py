"""Work in the background: once for all who ask, in the order of coming, and dropped when nobody asks."""

from __future__ import annotations

import threading
import time

import pytest

from clear_hug.ui import later
from clear_hug.ui.later import Later


def test_a_result_follows_and_is_made_once():
    asked, gate, line, kept = [], threading.Event(), Later(), {}

    def work():
        asked.append(threading.current_thread())
        gate.wait(10)
        return "word"

    assert line.ask(kept, work) is None
    assert line.ask(kept, work, 0.05) is None
    gate.set()
    assert line.ask(kept, work, 10) == "word"
    assert kept == {"result": "word"}
    assert line.ask(kept, work) == "word"
    assert len(asked) == 1 and asked[0] is not threading.current_thread()


def test_work_is_done_in_the_order_of_coming_one_at_a_time():
    line, gate, began = Later(), threading.Event(), []
    all_kept = [{} for _ in range(4)]

    def work(i):
        began.append(i)
        gate.wait(10)
        return i

    for i, kept in enumerate(all_kept):
        line.ask(kept, lambda i=i: work(i))
    deadline = time.monotonic() + 10
    while not began and time.monotonic() < deadline:
        time.sleep(0.01)
    assert began == [0]
    assert [line.place(kept) for kept in all_kept] == [0, 1, 2, 3]
    assert line.busy
    gate.set()
    assert [line.ask(kept, lambda: None, 10) for kept in all_kept] == [0, 1, 2, 3]
    assert not line.busy
    assert began == [0, 1, 2, 3]


def test_what_nobody_asks_for_any_more_is_dropped_and_begun_anew_when_asked(monkeypatch):
    monkeypatch.setattr(later, "FORGOTTEN", 0.1)
    line, gate, made, left, stayed = Later(), threading.Event(), [], {}, {}
    first: dict = {}
    line.ask(first, lambda: gate.wait(10))
    line.ask(left, lambda: made.append("left"))
    line.ask(stayed, lambda: "stayed")
    time.sleep(0.2)
    asker = threading.Timer(0.05, gate.set)
    asker.start()
    assert line.ask(stayed, lambda: "stayed", 10) == "stayed"
    assert not made and left == {}
    assert line.ask(left, lambda: "again", 10) == "again"


def test_who_waits_longer_than_that_is_not_forgotten(monkeypatch):
    monkeypatch.setattr(later, "FORGOTTEN", 0.1)
    line, gate = Later(), threading.Event()
    line.ask({}, lambda: gate.wait(10))
    threading.Timer(0.4, gate.set).start()
    assert line.ask({}, lambda: "word", 10) == "word"


def test_an_error_is_the_askers_and_the_line_goes_on(monkeypatch):
    line, gate, broken, sound = Later(), threading.Event(), {}, {}

    def fail():
        raise ValueError("no beats")

    line.ask({}, lambda: gate.wait(10))  # the others are in line before the first of them fails
    line.ask(broken, fail)
    line.ask(sound, lambda: 1)
    gate.set()
    assert line.ask(sound, lambda: 1, 10) == 1
    for _ in range(2):  # the same question has the same answer
        with pytest.raises(ValueError, match="no beats"):
            line.ask(broken, lambda: 2, 10)
    monkeypatch.setattr(later, "RETRY", 0)
    assert line.ask(broken, lambda: 2, 10) == 2
