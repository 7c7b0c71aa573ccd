"""Which fold each record has: what is kept to judge must not be learned from where it stands again."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from clear_hug.train.records import Records

_IN_CHALLENGES = r"/(HR[0-9]{5}|JS[0-9]{5}|A[0-9]{4})$"
_SETS = {"J": "csn", "A": "cpsc2018"}


def one_fold(records: Records, recording: NDArray[np.uint64], published: dict[int, str]) -> NDArray[np.int64]:
    """(record,) folds: the records of a patient, and a recording that stands in several places, have one.

    It is that of the first of them, PTB-XL's before all, then that of a set which the challenges took up.
    A recording is known by its trace, or by its name in the challenges (`published_name`): what is kept to
    judge must not be learned from there. PTB-XL's own folds stay as they are published, and its recordings
    elsewhere have these, whoever their patient is.
    """
    own = records.column("fold").astype(np.int64)
    official = np.zeros(len(records), dtype=bool)
    official[list(records.matching(r"^ptbxl/[0-9]+$"))] = True
    official &= (records.column("vocabulary") == "SCP") & (own > 0)
    told = np.flatnonzero(own > 0)
    told = told[np.argsort(~official[told], kind="stable")]
    if not told.size:
        return own
    rows_of = records.rows_of(published.values(), told)
    named = {i: rows_of[name] for i, name in published.items() if name in rows_of}
    here, there = np.array([*named], np.int64), np.array([*named.values()], np.int64)
    as_published = np.zeros(len(own), dtype=bool)
    as_published[there] = True
    told = told[np.argsort(~(official | as_published)[told], kind="stable")]
    n, every = len(own), np.arange(len(own))
    traces, trace = np.unique(recording, return_inverse=True)
    patient = pd.factorize(records.column("patient"))[0]
    mine = ~official  # a patient of PTB-XL has the folds that are published
    one = np.concatenate([every, every[mine], here])
    other = np.concatenate([n + trace, n + traces.size + patient[mine], there])
    size = n + traces.size + n
    group = connected_components(coo_array((np.ones(one.size, bool), (one, other)), (size, size)), False)[1]
    groups, first = np.unique(group[told], return_index=True)
    at = np.searchsorted(groups, group[:n]).clip(max=groups.size - 1)
    same = groups[at] == group[:n]
    fold = own.copy()
    fold[same] = own[told[first[at[same]]]]
    known, first = np.unique(recording[official], return_index=True)
    if known.size:
        at = np.searchsorted(known, recording).clip(max=known.size - 1)
        same = known[at] == recording
        fold[same] = own[official][first[at[same]]]
    of_ptbxl = official[there]
    fold[here[of_ptbxl]] = own[there[of_ptbxl]]
    fold[official] = own[official]
    return fold


def published_names(records: Records) -> dict[int, str]:
    """Row of a record of the challenges, which tell no patients -> its name in the set that it is of."""
    found = records.matching(_IN_CHALLENGES)
    patients = records.column("patient") if found else ()
    named = {i: published_name(name) for i, name in found.items() if patients[i] == name}
    return {i: name for i, name in named.items() if name}


def published_name(record: str) -> str | None:
    """What a record of the challenges is called in the set that it is of; None for any other.

    HR00001 is of PTB-XL, JS00001 of CSN, A0001 of CPSC2018.
    """
    if record.startswith(("ptbxl/", "csn/", "cpsc2018/")):
        return None
    if not (found := re.search(_IN_CHALLENGES, record)):
        return None
    name = found[1]
    return f"ptbxl/{int(name[2:])}" if name.startswith("HR") else f"{_SETS[name[0]]}/{name}"
