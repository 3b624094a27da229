"""Where the cost of a curve is, in a sentence that says no more than the figures it is given."""

from __future__ import annotations

from collections.abc import Mapping

Shape = tuple[int, int]
"""Rows and columns."""

_NOISE = 0.05  # of a time; a smaller difference is not called one


def size_words(shape: Shape) -> str:
    """Columns × rows, as a detector's size is written."""
    return f"{shape[1]}×{shape[0]}"


def parts_words(ends: Mapping[Shape, Mapping[str, float]]) -> str:
    """What takes most at the smallest and at the largest image.

    Args:
        ends: of both, in this order, the time of each part that the whole consists of.
    """
    (small, few), (large, many) = ends.items()
    name, other = max(few, key=few.__getitem__), max(many, key=many.__getitem__)
    share, other_share = few[name] / sum(few.values()), many[other] / sum(many.values())
    if name == other:
        return (
            f"At {size_words(small)} as at {size_words(large)} {name} takes most: {share:.0%} of "
            f"the time, and {other_share:.0%}."
        )
    return (
        f"At {size_words(large)} {other} takes most, {other_share:.0%} of the time; at "
        f"{size_words(small)} {name}, {share:.0%}."
    )


def bytes_words(shape: Shape, peak_bytes: float, held: Mapping[str, float]) -> str:
    """How many bytes each pixel takes at the peak, and which of them are known.

    Args:
        shape: of the largest image.
        peak_bytes: above the baseline.
        held: what is surely in memory then, in bytes.
    """
    pixels = shape[0] * shape[1]
    known = " and ".join(f"{size / pixels:.1f} are {name}" for name, size in held.items())
    line = f"At {size_words(shape)} each pixel takes {peak_bytes / pixels:.1f} bytes at the peak"
    return f"{line}, of which {known}." if known else f"{line}."


def batch_words(images: float, alone_ms: float, together_ms: float) -> str:
    """What a batch saves."""
    each = together_ms / images
    line = f"An image among {images:.0f} takes {each:.2f} ms, alone {alone_ms:.2f} ms"
    if each < (1 - _NOISE) * alone_ms:
        return f"{line}: a batch saves {1 - each / alone_ms:.0%}."
    if each > (1 + _NOISE) * alone_ms:
        return f"{line}: a batch costs {each / alone_ms - 1:.0%} more."
    return f"{line}: a batch saves nothing."


def classes_words(few: float, few_ms: float, many: float, many_ms: float) -> str:
    """What a class costs, and the bundle's own."""
    if many_ms < (1 + _NOISE) * few_ms:
        return f"{many:,.0f} classes take no longer than {few:,.0f}."
    each = (many_ms - few_ms) / (many - few)
    return (
        f"{many:,.0f} classes take {many_ms / few_ms:.2f} times as long as {few:,.0f}; each adds "
        f"{each * 1e3:.2g} µs, and at that rate the bundle's own are {few * each / few_ms:.1%} of "
        "the engine's time."
    )


def threads_words(threads: float, one_ms: float, all_ms: float) -> str:
    """How much of an inference is shared among threads (Amdahl, AFIPS 1967)."""
    ratio = all_ms / one_ms
    if ratio > 1 - _NOISE:
        return f"{threads:.0f} threads make one inference no faster here."
    shared = min(1.0, (1 - ratio) / (1 - 1 / threads))
    return (
        f"{threads:.0f} threads take {ratio:.2f} of the time of one, as if {shared:.0%} of the "
        "work were shared among them."
    )


def files_words(few: float, few_ms: float, many: float, many_ms: float) -> str:
    """What starting takes, and what a file adds."""
    each = (many_ms - few_ms) / (many - few)
    start = few_ms - few * each
    if each <= 0 or start <= 0:
        return f"{few:,.0f} files take {few_ms:.0f} ms, {many:,.0f} take {many_ms:.0f} ms."
    return (
        f"Starting takes {start / 1e3:.2f} s and each file {each:.2g} ms: up to "
        f"{start / each:,.0f} files the start is the larger part."
    )


def risen_words(few: float, few_mb: float, many: float, many_mb: float, noun: str) -> str:
    """How much the peak rose, and for each of what it grows with."""
    each = (many_mb - few_mb) * 1e3 / (many - few)
    line = f"{few_mb:.1f} MB with {few:,.0f} and {many_mb:.1f} MB with {many:,.0f}"
    if each <= 0:
        return f"{line}: no rise."
    return f"{line}: {each:,.{0 if each >= 10 else 1}f} kB for each of the {noun}."
