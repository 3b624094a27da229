"""The metrics of a node as text (Prometheus text exposition format 0.0.4); no patient data."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Sequence

import msgspec

from orthoedge.clinic.operations.counters import SECONDS, Counters, read_counters
from orthoedge.clinic.settings import NodeSettings
from orthoedge.clinic.spool.spool import Spool
from orthoedge.clinic.spool.status import count_states

__all__ = ["metrics_text"]

_IMAGE_STATES = ("received", "answered", "sent", "confirmed", "dead")
_OBJECT_STATES = ("waiting", "sent", "confirmed", "dead")
_QUANTILES = (0.1, 0.5, 0.9, 0.99)


def metrics_text(settings: NodeSettings, spool: Spool) -> str:
    """Write all metrics.

    Args:
        settings: of the node.
        spool: of that node.

    Raises:
        OSError: the index or the counters cannot be read.
    """
    try:
        counters = read_counters(settings.worker_counters)
    except msgspec.DecodeError:  # the worker begins them again
        counters = Counters()
    lines = [*_spool_metrics(settings, spool), *_counter_metrics(counters)]
    return "".join(f"{line}\n" for line in lines)


def _spool_metrics(settings: NodeSettings, spool: Spool) -> Iterable[str]:
    counts = {(each.what, each.state): each for each in count_states(spool)}
    yield from _head("orthoedge_images", "gauge", "Images in the spool.")
    for state in _IMAGE_STATES:
        count = counts.get(("image", state))
        yield f'orthoedge_images{{state="{state}"}} {count.count if count else 0}'
    yield from _head("orthoedge_objects", "gauge", "Objects for each destination.")
    for name in settings.destinations:
        for state in _OBJECT_STATES:
            count = counts.get((name, state))
            labels = f'destination="{name}",state="{state}"'
            yield f"orthoedge_objects{{{labels}}} {count.count if count else 0}"
    name = "orthoedge_oldest_unanswered_seconds"
    yield from _head(name, "gauge", "Age of the oldest image without an answer; 0 for none.")
    oldest = counts.get(("image", "received"))
    yield f"{name} {oldest.oldest_s if oldest else 0:.3f}"
    name = "orthoedge_oldest_unsent_seconds"
    yield from _head(name, "gauge", "Age of the oldest image with an object not yet sent.")
    for destination in settings.destinations:
        oldest = counts.get((destination, "waiting"))
        value = f"{oldest.oldest_s if oldest else 0:.3f}"
        yield f'{name}{{destination="{destination}"}} {value}'
    name = "orthoedge_disk_free_bytes"
    yield from _head(name, "gauge", "Free bytes on the disk of the spool.")
    yield f"{name} {shutil.disk_usage(settings.folder).free}"
    name = "orthoedge_golden_image_age_seconds"
    yield from _head(name, "gauge", "Seconds since a golden image had its right answer.")
    try:
        yield f"{name} {max(0.0, time.time() - settings.worker_sound.stat().st_mtime):.3f}"
    except FileNotFoundError:
        yield f"{name} NaN"


def _counter_metrics(counters: Counters) -> Iterable[str]:
    name = "orthoedge_answers_total"
    yield from _head(name, "counter", "Answers by decision.")
    for decision in ("report", "refer", "reject"):
        yield f'{name}{{decision="{decision}"}} {counters.decisions.get(decision, 0)}'
    yield from _head("orthoedge_dead_total", "counter", "Images that got no answer.")
    yield f"orthoedge_dead_total {counters.dead}"
    name = "orthoedge_failed_attempts_total"
    yield from _head(name, "counter", "Attempts at an answer that failed and were made again.")
    yield f"{name} {counters.failures}"
    yield from _histogram(
        "orthoedge_answer_seconds",
        "Time that making an answer took.",
        counters.answering,
        counters.answering_sum,
    )
    yield from _histogram(
        "orthoedge_turnaround_seconds",
        "Time from the receipt of an image to its answer.",
        counters.turnaround,
        counters.turnaround_sum,
    )
    name = "orthoedge_out_of_distribution_score"
    yield from _head(
        name,
        "summary",
        "Score of the images, 0 the median of calibration, 1 the threshold; quantiles of the last "
        f"{len(counters.latest_scores)}.",
    )
    scores = sorted(counters.latest_scores)
    for quantile in _QUANTILES:
        value = f"{scores[int(quantile * (len(scores) - 1))]:.4f}" if scores else "NaN"
        yield f'{name}{{quantile="{quantile}"}} {value}'
    yield f"{name}_sum {counters.score_sum:.4f}"
    yield f"{name}_count {sum(counters.decisions.values())}"


def _histogram(name: str, help_text: str, counts: Sequence[int], total: float) -> Iterable[str]:
    yield from _head(name, "histogram", help_text)
    below = 0
    for bound, count in zip((*map(str, SECONDS), "+Inf"), counts, strict=True):
        below += count
        yield f'{name}_bucket{{le="{bound}"}} {below}'
    yield f"{name}_sum {total:.4f}"
    yield f"{name}_count {below}"


def _head(name: str, kind: str, help_text: str) -> Iterable[str]:
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} {kind}"
