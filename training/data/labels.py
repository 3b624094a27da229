"""Which studies of a set a recipe is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from orthoedge.training.data.studies import Study, check_labels
from orthoedge.training.recipe import Recipe


@dataclass(frozen=True)
class Chosen:
    """Studies of the recipe's labels, and how many of which other label were left out."""

    studies: tuple[Study, ...]
    left_out: dict[str, int]

    def line(self) -> str:
        """Return one line for the log."""
        count = sum(self.left_out.values())
        names = ", ".join(f"{n} {label}" for label, n in sorted(self.left_out.items()))
        return f"left out {count} of {count + len(self.studies)} studies: {names}"


def choose_studies(studies: Sequence[Study], recipe: Recipe) -> Chosen:
    """Leave out the studies of other labels where the recipe says so.

    Raises:
        DataError: a label that is not the recipe's where `other_labels` is `refuse`, or a label of
            the recipe that no study has.
    """
    others: Counter[str] = Counter()
    kept = []
    for study in studies:
        if recipe.other_labels == "leave out" and study.label not in recipe.labels:
            others[study.label] += 1
        else:
            kept.append(study)
    check_labels(kept, recipe.labels)
    return Chosen(tuple(kept), dict(others))
