"""The dominant part of a curve as a sentence, made from the figures alone."""

from __future__ import annotations

from collections.abc import Mapping

from orthoedge.runtime.settings import plain

Shape = tuple[int, int]
"""Rows and columns."""

_NOISE = 0.05  # of a time; a smaller difference is not called one


def size_text(shape: Shape) -> str:
    """Columns × rows, as a detector's size is written."""
    return f"{shape[1]}×{shape[0]}"


def parts_sentence(ends: Mapping[Shape, Mapping[str, float]]) -> str:
    """The part that takes most of the times of the smallest image, and then of the largest."""
    (small, few), (large, many) = ends.items()
    name, other = max(few, key=few.__getitem__), max(many, key=many.__getitem__)
    share, other_share = few[name] / sum(few.values()), many[other] / sum(many.values())
    if name == other:
        return (
            f"At {size_text(small)} as at {size_text(large)} {name} takes most: {share:.0%} of the "
            f"time, and {other_share:.0%}."
        )
    return (
        f"At {size_text(large)} {other} takes most, {other_share:.0%} of the time; at "
        f"{size_text(small)} {name}, {share:.0%}."
    )


def bytes_sentence(shape: Shape, peak_bytes: float, held: Mapping[str, float]) -> str:
    """Bytes per pixel at the peak above the baseline; `held` are certainly in memory then."""
    pixels = shape[0] * shape[1]
    known = " and ".join(f"{size / pixels:.1f} are {name}" for name, size in held.items())
    line = f"At {size_text(shape)} each pixel takes {peak_bytes / pixels:.1f} bytes at the peak"
    return f"{line}, of which {known}." if known else f"{line}."


def batch_sentence(images: float, alone_ms: float, together_ms: float) -> str:
    """Time that a batch saves."""
    each = together_ms / images
    line = f"An image among {images:.0f} takes {each:.2f} ms, alone {alone_ms:.2f} ms"
    if each < (1 - _NOISE) * alone_ms:
        return f"{line}: a batch saves {1 - each / alone_ms:.0%}."
    if each > (1 + _NOISE) * alone_ms:
        return f"{line}: a batch costs {each / alone_ms - 1:.0%} more."
    return f"{line}: a batch saves nothing."


def classes_sentence(few: float, few_ms: float, many: float, many_ms: float) -> str:
    """Time per class, and the share of the bundle's own classes."""
    if many_ms < (1 + _NOISE) * few_ms:
        return f"{many:,.0f} classes take no longer than {few:,.0f}."
    each = (many_ms - few_ms) / (many - few)
    return (
        f"{many:,.0f} classes take {many_ms / few_ms:.2f} times as long as {few:,.0f}; each adds "
        f"{plain(each * 1e3, 2)} µs, and at that rate the bundle's own are "
        f"{few * each / few_ms:.1%} of the engine's time."
    )


def threads_sentence(threads: float, one_ms: float, all_ms: float) -> str:
    """Parallel share of an inference (Amdahl, AFIPS 1967)."""
    ratio = all_ms / one_ms
    if ratio > 1 - _NOISE:
        return f"{threads:.0f} threads make one inference no faster here."
    shared = min(1.0, (1 - ratio) / (1 - 1 / threads))
    return (
        f"{threads:.0f} threads take {ratio:.2f} of the time of one, as if {shared:.0%} of the "
        "work were shared among them."
    )


def files_sentence(few: float, few_ms: float, many: float, many_ms: float) -> str:
    """Time of the start, and time per file."""
    each = (many_ms - few_ms) / (many - few)
    start = few_ms - few * each
    if each <= 0 or start <= 0:
        return f"{few:,.0f} files take {few_ms:.0f} ms, {many:,.0f} take {many_ms:.0f} ms."
    return (
        f"Starting takes {start / 1e3:.2f} s and each file {plain(each, 2)} ms: up to "
        f"{start / each:,.0f} files the start is the larger part."
    )


def risen_sentence(few: float, few_mb: float, many: float, many_mb: float, noun: str) -> str:
    """Rise of the peak, in total and per unit."""
    each = (many_mb - few_mb) * 1e3 / (many - few)
    line = f"{few_mb:.1f} MB with {few:,.0f} and {many_mb:.1f} MB with {many:,.0f}"
    if each <= 0:
        return f"{line}: no rise."
    return f"{line}: {each:,.{0 if each >= 10 else 1}f} kB for each of the {noun}."
