"""The server without a browser: users at once, and how long it works for a page; benchmarks/ at length."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.load import load
from benchmarks.pages import switches

WARM_SECONDS = 1.0  # the goal is 0.3 s on two quiet cores: `python -m benchmarks.pages`


@pytest.mark.alone
def test_users_at_once_see_their_own_records_alone() -> None:
    with ThreadPoolExecutor(1) as apart:  # Playwright keeps an event loop in this thread
        seen = apart.submit(load, users=3, seconds=15, think=0.5).result()
    assert not seen.wrong and not seen.errors
    assert len(seen.seconds) > 5


@pytest.mark.alone
@pytest.mark.slow
def test_the_server_works_less_than_a_second_for_a_warm_page(address: str) -> None:
    with ThreadPoolExecutor(1) as apart:
        took = apart.submit(asyncio.run, switches(address, "simulated-premature", 3)).result()
    assert max(min(times) for times in took.values()) < 1000 * WARM_SECONDS, took
