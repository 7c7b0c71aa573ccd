from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

from clear_hug.train.records import Records

WORDS = ["", '["NORM"]', '["IMI", "AFIB"]']


@pytest.fixture(scope="module")
def tables() -> list[pd.DataFrame]:
    """Three parts; a word of the last stands in no other."""
    parts = []
    for k, n in enumerate((5, 1, 400)):
        i = np.arange(n)
        parts.append(
            pd.DataFrame(
                {
                    "record": [f"é{k}/{j}" for j in i],
                    "fold": (i % 10 + 1).astype(np.int16),
                    "patient": [f"p{k}-{j // 2}" for j in i],
                    "age": np.where(i % 3 == 0, np.nan, 50.5 + k),
                    "vocabulary": ["SCP" if k < 2 else f"V{j % 300}" for j in i],
                    "statements": [WORDS[(j + k) % 3] for j in i],
                }
            )
        )
    return parts


def test_rows_and_columns_are_those_of_the_tables(tables: list[pd.DataFrame]) -> None:
    whole, kept = pd.concat(tables, ignore_index=True), Records(tables)
    assert len(kept) == len(whole) == len(list(kept))
    for name in whole:
        np.testing.assert_array_equal(kept.column(str(name)), whole[name].to_numpy())
    for i in (0, 4, 5, 6, 405, -1):
        assert list(kept[i]) == list(whole)
        assert {k: str(v) for k, v in kept[i].items()} == {k: str(v) for k, v in whole.iloc[i].items()}
    assert [row["record"] for row in kept[3:7]] == whole["record"][3:7].tolist()
    again = pickle.loads(pickle.dumps(kept))
    assert [str(row) for row in again] == [str(row) for row in kept]


def test_words_are_held_once(tables: list[pd.DataFrame]) -> None:
    kept = Records(tables)
    codes, words = kept.words("statements")
    assert codes.dtype == np.uint8 and sorted(words) == sorted(WORDS)
    assert [words[code] for code in codes] == kept.column("statements").tolist()
    assert kept.words("vocabulary")[0].dtype == np.uint16  # 301 of them
    with pytest.raises(IndexError):
        kept[len(kept)]


def test_a_name_is_found_at_the_first_of_its_rows_in_an_order() -> None:
    kept = Records([pd.DataFrame({"record": ["a", "b"]}), pd.DataFrame({"record": ["b", "a", "c"]})])
    assert kept.rows_of(["a", "b", "none"]) == {"a": 0, "b": 1}
    assert kept.rows_of(["a", "b", "c"], np.array([2, 3, 1])) == {"a": 3, "b": 2}
