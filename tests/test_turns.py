import threading
import time

import pytest

from clear_hug.turns import Turns


def run_all(works):
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_no_more_than_so_many_work_at_once(at_once):
    turns, lock = Turns(at_once), threading.Lock()
    now, most = 0, 0

    def work():
        nonlocal now, most
        with turns.take():
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.02)
            with lock:
                now -= 1

    run_all([work] * 8)
    assert most == at_once and turns.waiting == 0


def test_first_come_first_served_and_each_is_told_its_place():
    turns, came, told = Turns(), [], {k: [] for k in range(4)}
    inside, go = threading.Event(), threading.Event()

    def first():
        with turns.take():
            inside.set()
            assert go.wait(10)

    def later(k):
        with turns.take(told[k].append):
            came.append(k)

    threads = [threading.Thread(target=first)]
    threads[0].start()
    assert inside.wait(10)
    for k in range(4):
        threads.append(threading.Thread(target=later, args=(k,)))
        threads[-1].start()
        while turns.waiting < k + 1:
            time.sleep(0.001)
    go.set()
    for thread in threads:
        thread.join(10)
    assert came == [0, 1, 2, 3]
    for k in range(4):
        assert told[k][0] == k + 1 and told[k] == sorted(told[k], reverse=True)


def test_who_leaves_gives_the_place_up():
    turns = Turns()

    class Left(Exception):
        pass

    def leave(place):
        raise Left

    with turns.take():
        failed = []

        def waits():
            try:
                with turns.take(leave):
                    failed.append("was let in")
            except Left:
                failed.append("left")

        run_all([waits])
        assert failed == ["left"] and turns.waiting == 0
    with pytest.raises(Left), turns.take():
        raise Left
    with turns.take(lambda place: pytest.fail("the turn is free again")):
        pass


def test_a_turn_within_a_turn_is_the_same_turn():
    turns = Turns()
    with turns.take(), turns.take(lambda place: pytest.fail("waits for itself")):
        pass
    assert turns.waiting == 0


def test_nobody_let_in_is_refused():
    with pytest.raises(ValueError, match="at_once = 0"):
        Turns(0)
