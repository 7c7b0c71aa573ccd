"""The folder of real ECGs, without which tests that need it are skipped."""

import os

import pytest

DATA = os.environ.get("CLEAR_HUG_DATA") or None  # named and empty is not named
needs_data = pytest.mark.skipif(DATA is None, reason="set CLEAR_HUG_DATA to the folder of real ECGs")
