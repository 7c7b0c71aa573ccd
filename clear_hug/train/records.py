"""Records: the rows of records.csv of all parts, in columns of few bytes a record.

800,000 records stand in the memory of each process, so a name is held once, as UTF-8; a word that stands in
many rows as its number; and a digest as its 32 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

NAMES = ("record", "patient")  # another one in each row
WORDS = ("sex", "vocabulary", "statements", "source", "data_set")  # few, each in many rows


class Records(Sequence[dict[str, Any]]):
    """A row a record, as a dict that is made when it is asked for.

    Parameters
    ----------
    tables : parts, one after another, each read when the one before is held; the same columns in each. NAMES
        and WORDS are text, all others numbers
    """

    def __init__(self, tables: Iterable[pd.DataFrame]) -> None:
        numbers: dict[str, list[NDArray[Any]]] = {}
        names: dict[str, list[pa.Array]] = {}
        codes: dict[str, list[NDArray[np.int32]]] = {}
        known: dict[str, dict[str, int]] = {}
        self._n = 0
        for table in tables:
            self._n += len(table)
            for name, values in table.items():
                if name in NAMES:
                    names.setdefault(str(name), []).append(pa.array(values, pa.large_string()))
                elif name in WORDS:
                    mine = _numbered(values, known.setdefault(str(name), {}))
                    codes.setdefault(str(name), []).append(mine)
                else:
                    numbers.setdefault(str(name), []).append(values.to_numpy())
                order = tuple(map(str, table))
        self._order = order if self._n else ()
        self._numbers = {name: np.concatenate(parts) for name, parts in numbers.items()}
        self._names = {name: pa.concat_arrays(parts) for name, parts in names.items()}
        self._words = {
            name: (_narrow(parts, known[name]), list(known[name])) for name, parts in codes.items()
        }

    def __len__(self) -> int:
        return self._n

    def column(self, name: str) -> NDArray[Any]:
        """(record,) of one field; of text, made anew each time."""
        if name in self._numbers:
            return self._numbers[name]
        if name in self._names:
            return np.asarray(self._names[name].to_numpy(zero_copy_only=False))
        codes, words = self._words[name]
        return np.array(words, dtype=object)[codes]

    def replace(self, name: str, numbers: NDArray[Any]) -> None:
        """Another column of numbers in the place of one."""
        self._numbers[name] = numbers

    def words(self, name: str) -> tuple[NDArray[np.integer[Any]], list[str]]:
        """(record,) which of the words of a field each row has, and these."""
        return self._words[name]

    def matching(self, pattern: str) -> dict[int, str]:
        """Row -> name of the records whose name a regular expression finds."""
        found = pc.match_substring_regex(self._names["record"], pattern).to_numpy(zero_copy_only=False)
        return {int(i): self._names["record"][i].as_py() for i in np.flatnonzero(found)}

    def rows_of(self, names: Iterable[str], order: NDArray[np.int64] | None = None) -> dict[str, int]:
        """Name -> its first row, of the records that are there.

        order : rows, of which the first is taken; all as they stand when not given
        """
        asked = pa.array(sorted(set(names)), pa.large_string())
        found = pc.is_in(self._names["record"], value_set=asked).to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(found) if order is None else order[found[order]]
        return {self._names["record"][i].as_py(): int(i) for i in rows[::-1]}

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(self._n))]
        return {name: self._value(name, int(i)) for name in self._order}

    def _value(self, name: str, i: int) -> Any:
        if name in self._numbers:
            return self._numbers[name][i]
        if name in self._names:
            return self._names[name][i].as_py()
        codes, words = self._words[name]
        return words[codes[i]]


def _numbered(texts: pd.Series[str], known: dict[str, int]) -> NDArray[np.int32]:
    """The number of each text; one that is not known takes the next."""
    codes, mine = pd.factorize(texts.to_numpy(dtype=object))
    return np.array([known.setdefault(text, len(known)) for text in mine], dtype=np.int32)[codes]


def _narrow(codes: Sequence[NDArray[np.int32]], words: Sized) -> NDArray[np.integer[Any]]:
    """One after another, in as few bytes as the number of words asks for."""
    return np.concatenate(codes).astype(np.min_scalar_type(max(len(words) - 1, 0)))
