"""Several users at once, each with an upload of its own; `benchmarks/load.py` at length."""

import pytest

from benchmarks.load import load

pytestmark = pytest.mark.browser


def test_users_at_once_see_their_own_records_alone() -> None:
    seen = load(users=3, seconds=15, think=0.5)
    assert not seen.wrong and not seen.errors
    assert len(seen.seconds) > 5
