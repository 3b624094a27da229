"""Parts of the made-up report of report_example.py."""

import cv2
import msgspec
import numpy as np

from orthoedge.benchmarks.report.gallery import GalleryItem
from orthoedge.benchmarks.schema import (
    Footprint,
    Interval,
    Quantiles,
    ScalingCurve,
    Scenario,
    Stage,
)

LABELS = ("fracture", "non-affected", "tumor-benign", "tumor-malignant")
STUDENTS = tuple((t, p) for t in ("x86", "portable") for p in ("int8", "fp32"))


def quantiles(median: float, rng, count: int = 480) -> Quantiles:
    times = median * np.exp(np.abs(rng.normal(0, 0.12, count)) ** 1.6)
    times *= median / np.median(times)
    p50, p90, p99 = np.percentile(times, (50, 90, 99)).tolist()
    return Quantiles(
        count=count,
        mean=float(times.mean()),
        p50=p50,
        p90=p90,
        p99=p99,
        p999=None,
        curve=tuple(np.percentile(times, range(101)).tolist()),
    )


def between(value: float, spread: float) -> Interval:
    return Interval(value=value, low=value - spread, high=value + spread)


def stages(rng) -> tuple[Stage, ...]:
    times = {
        "read png": 1.1,
        "read jpeg": 0.9,
        "read dicom": 5.6,
        "preprocess": 0.21,
        "image checks": 0.14,
        "engine": 0.94,
        "minimal inference": 0.93,
        "minimal inference, logits only": 0.92,
        "decision": 0.05,
        "from memory": 1.5,
        "from png": 2.6,
        "from jpeg": 2.4,
        "from dicom": 9.1,
    }
    engines = dict(zip(STUDENTS, (1.0, 1.75, 4.1, 1.55), strict=True))
    return tuple(
        Stage(
            name=name,
            target=target,
            precision=precision,
            latency=quantiles(
                ms + (engines[target, precision] - 1) * 0.94
                if name.startswith(("engine", "minimal", "from"))
                else ms,
                rng,
            ),
        )
        for target, precision in STUDENTS
        for name, ms in times.items()
    )


def scenarios(rng) -> tuple[Scenario, ...]:
    short = "60 s are asked for and 5 s were measured"
    made = []
    for target, precision in STUDENTS[:2]:
        single, multi = quantiles(1.55, rng, 3000), quantiles(9.8, rng, 700)
        common = {"target": target, "precision": precision, "valid": False, "violations": short}
        made += [
            Scenario(
                name="SingleStream",
                queries=3000,
                images_per_query=1,
                seconds=5.0,
                latency=single,
                images_per_s=620.0,
                quoted=f"p90 {single.p90:.2f} ms",
                **common,
            ),
            Scenario(
                name="MultiStream",
                queries=700,
                images_per_query=8,
                seconds=5.1,
                latency=multi,
                images_per_s=790.0,
                quoted=f"p99 {multi.p99:.2f} ms",
                **common,
            ),
            Scenario(
                name="Offline",
                queries=1,
                images_per_query=4096,
                seconds=5.0,
                latency=None,
                images_per_s=812.0,
                quoted="812 images/s",
                **common,
            ),
        ]
    return tuple(made)


def footprint(target: str, precision: str, rng) -> Footprint:
    return Footprint(
        target=target,
        precision=precision,
        model_mb=0.79 if precision == "int8" else 2.6,
        bundle_mb=3.9,
        wheel_mb=4.4,
        environment_mb=310.0 if target == "x86" else 240.0,
        cold_start_ms=msgspec.structs.replace(
            quantiles(590, rng, 12), p50_interval=between(590, 30)
        ),
        cached_start_ms=quantiles(320, rng, 12) if target == "x86" else None,
        cold_peak_rss_mb=between(151.0, 1.0),
        cold_start_ratio=between(4.9, 0.2),
        cached_start_ratio=between(2.7, 0.1) if target == "x86" else None,
        import_ms=between(34.0, 4.0),
    )


def scaling() -> tuple[ScalingCurve, ...]:
    sides = (256, 512, 1024, 2048, 3072)
    return (
        ScalingCurve(
            name="preprocess",
            by="pixels",
            unit="ms",
            points=tuple((float(s * s), 0.1 + 4e-7 * s * s) for s in sides),
            exponent=between(0.96, 0.04),
            explanation="Above a megapixel nearly all of it is the reduction to 224×224.",
        ),
        ScalingCurve(
            name="predict FOLDER",
            by="files",
            unit="ms",
            points=tuple((float(n), 300 + 2.5 * n) for n in (1, 10, 100, 1000, 10000)),
            exponent=between(0.99, 0.02),
            explanation="Below 100 files it is the start of the process.",
        ),
        ScalingCurve(
            name="predict FOLDER",
            by="files",
            unit="MB",
            points=tuple((float(n), 151.0 + 0.0001 * n) for n in (1, 10, 100, 1000, 10000)),
            exponent=None,
            explanation="Memory does not grow: files are read one by one.",
        ),
    )


def gallery(count: int = 8) -> tuple[GalleryItem, ...]:
    rng = np.random.default_rng(1)
    made = []
    for number in range(count):
        noise = cv2.GaussianBlur(rng.integers(0, 256, (224, 224), dtype=np.uint8), (0, 0), 9)
        noise = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)
        plain = cv2.imencode(".png", noise)[1].tobytes()
        heat = cv2.imencode(".png", cv2.applyColorMap(noise, cv2.COLORMAP_INFERNO))[1].tobytes()
        truth = LABELS[number % 4]
        made.append(
            GalleryItem(
                truth=truth,
                student=LABELS[(number + number // 7) % 4],
                teacher=truth,
                plain=plain,
                student_map=heat,
                teacher_map=heat,
            )
        )
    return tuple(made)
