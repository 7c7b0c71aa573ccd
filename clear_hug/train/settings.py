"""What the settings of a recipe may be: what cannot be is refused in a sentence before anything is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

PRECISIONS = ("auto", "bf16", "no")


class RunError(RuntimeError):
    """A run that cannot go on, in a sentence."""


def at_least(recipe: Any, **least: float) -> None:
    """Raise RunError where a setting of a recipe is smaller."""
    for name, low in least.items():
        if not getattr(recipe, name) >= low:
            raise RunError(f"{name} = {getattr(recipe, name)!r}; expected {low:g} or more.")


def shares(recipe: Any, *names: str) -> None:
    """Raise RunError where a setting of a recipe is no share from 0 to 1."""
    for name in names:
        if not 0 <= getattr(recipe, name) <= 1:
            raise RunError(f"{name} = {getattr(recipe, name)!r}; expected from 0 to 1.")


def one_of(recipe: Any, **known: Iterable[str]) -> None:
    """Raise RunError where a setting of a recipe is none of those known."""
    for name, words in known.items():
        if getattr(recipe, name) not in words:
            raise RunError(f"{name} = {getattr(recipe, name)!r}; expected one of {', '.join(words)}.")


def each_once(tasks: Sequence[str]) -> None:
    """Raise RunError where the tasks of a recipe are none, or one of them stands twice."""
    if not tasks or len(set(tasks)) < len(tasks):
        raise RunError(f"tasks = {list(tasks)}; expected one or more, each once.")


def apart(**folds: Iterable[int]) -> None:
    """Raise RunError where two sets of folds share one: what is judged must not have been learned from."""
    for (name, one), (other, two) in combinations(folds.items(), 2):
        if both := sorted(set(one) & set(two)):
            raise RunError(
                f"{name} and {other} share {', '.join(map(str, both))}; a fold is for one of them."
            )


def how_it_trains(recipe: Any) -> None:
    """Check what every recipe of the loop has."""
    at_least(recipe, epochs=1, batch_size=1, lr=0, warm_up=0, weight_decay=0, seed=0)
    one_of(recipe, precision=PRECISIONS)
    if not recipe.clip > 0:
        raise RunError(f"clip = {recipe.clip!r}; expected above 0: a norm of 0 would stop all learning.")


def a_fraction(label_fraction: float) -> None:
    """Refuse a share of the labels that is none."""
    if not 0 < label_fraction <= 1:
        raise RunError(f"label_fraction = {label_fraction:g}; expected above 0, and 1 at most.")
