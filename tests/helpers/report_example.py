"""A report of made-up figures, for tests of what is written from reports."""

import msgspec
import numpy as np

from orthoedge.benchmarks import machine
from orthoedge.benchmarks.schema import (
    SCHEMA,
    Accuracy,
    Candidate,
    Comparison,
    Confidence,
    Interval,
    Report,
    Settings,
    Skipped,
)
from tests.helpers.report_example_parts import (
    LABELS,
    STUDENTS,
    between,
    footprint,
    quantiles,
    scaling,
    scenarios,
    stages,
)

REFERENCE = "x86 int8 engine"
BARE_MS = 0.94
# name, target, engine, precision, times the bare engine
TIMED = (
    (REFERENCE, "x86", "openvino", "int8", 1.0),
    ("x86 int8", "x86", "openvino", "int8", 1.6),
    ("x86 fp32 engine", "x86", "openvino", "fp32", 1.75),
    ("x86 fp32", "x86", "openvino", "fp32", 2.35),
    ("portable int8 engine", "portable", "onnxruntime", "int8", 4.1),
    ("portable int8", "portable", "onnxruntime", "int8", 4.75),
    ("portable fp32 engine", "portable", "onnxruntime", "fp32", 1.55),
    ("portable fp32", "portable", "onnxruntime", "fp32", 2.2),
    ("ensemble x86", "x86", "openvino", "fp32", 17.9),
    ("ensemble portable", "portable", "onnxruntime", "fp32", 21.0),
    ("baseline", "", "torch", "fp32", 205.0),
    ("benchmark_app", "", "benchmark_app", "int8", 0.97),
)


def example(slower: dict[str, float] | None = None, seed: int = 0, **changes) -> Report:
    """A complete report; `slower` multiplies candidates' times by name, `changes` replace parts."""
    rng = np.random.default_rng(seed)
    report = Report(
        schema=SCHEMA,
        bundle="orthoedge-phantom-student",
        bundle_version="1.0.0",
        bundle_sha256="5f" * 32,
        labels=LABELS,
        machine=msgspec.structs.replace(machine.describe_machine(), cpu="A processor", load=0.05),
        settings=settings(),
        background_load=0.02,
        reference=REFERENCE,
        candidates=candidates(slower or {}, rng),
        comparisons=comparisons(),
        stages=stages(rng),
        scenarios=scenarios(rng),
        accuracy=tuple(accuracy(t, p, rng) for t, p in STUDENTS),
        footprint=tuple(footprint(t, p, rng) for t, p in STUDENTS),
        scaling=scaling(),
        skipped=(
            Skipped(name="jetson", reason="tensorrt is not installed: it comes with JetPack"),
            Skipped(name="energy", reason="/sys/class/powercap: no sensor for the package here"),
        ),
        complete=True,
    )
    return msgspec.structs.replace(report, **changes)


def settings(**changes) -> Settings:
    made = Settings(
        mode="standard",
        command="orthoedge benchmark run --reference runs/orthovision --out bench-out",
        processes=8,
        rounds=60,
        warmup=10,
        threads=2,
        isa_limit="",
        seed=0,
        data="16 phantoms, 512×512",
        labelled="600 phantoms of seed 2026",
        timer_ns=78.0,
    )
    return msgspec.structs.replace(made, **changes)


def scope_of(name, target, precision):
    return "pipeline" if name in (f"{target} {precision}", "baseline") else "model"


def comparisons() -> tuple[Comparison, ...]:
    pairs = {
        "minimal_pipeline": ("x86 int8", "minimal pipeline", 1.4),
        "external ultralytics": ("external ultralytics", "x86 int8", 3.4),
    }
    return tuple(
        Comparison(
            name=name,
            description="what is compared",
            numerator=numerator,
            denominator=denominator,
            numerator_ms=1.5 * value,
            denominator_ms=1.5,
            unit="×",
            figure=between(value, 0.05),
        )
        for name, (numerator, denominator, value) in pairs.items()
    )


def candidates(slower, rng) -> tuple[Candidate, ...]:
    made = []
    for name, target, engine, precision, times in TIMED:
        ratio = times * slower.get(name, 1.0) / slower.get(REFERENCE, 1.0)
        ratio *= float(np.exp(rng.normal(0, 0.008)))
        ms = BARE_MS * slower.get(REFERENCE, 1.0)
        made.append(
            Candidate(
                name=name,
                description="the work of one call",
                scope=scope_of(name, target, precision),
                target=target,
                engine=engine,
                version="2026.1",
                precision=precision,
                isa="AVX512-VNNI" if engine == "openvino" else "",
                threads=2,
                latency=quantiles(ms * (1.0 if name == REFERENCE else ratio), rng),
                ratio=between(1.0, 0.0)
                if name == REFERENCE
                else Interval(value=ratio, low=ratio * 0.98, high=ratio * 1.021),
                energy_mj=None,
            )
        )
    return tuple(made)


def accuracy(target: str, precision: str, rng) -> Accuracy:
    table = np.full((4, 4), 2) + np.diag([140, 142, 141, 139]) + rng.integers(0, 2, (4, 4))
    right, images = int(np.trace(table)), int(table.sum())
    share = right / images
    return Accuracy(
        target=target,
        precision=precision,
        images=images,
        accuracy=between(share, 0.019),
        macro_f1=between(share - 0.001, 0.02),
        alert_recall={"tumor-malignant": between(0.961, 0.03)},
        ece=between(0.012, 0.006),
        pointing=between(0.967, 0.021),
        coverage=between(0.91, 0.024),
        accuracy_reported=between(0.985, 0.01),
        agreement=between(0.972, 0.013),
        confusion=tuple(tuple(int(n) for n in row) for row in table),
        reliability=tuple(bin_of(number, images) for number in range(15)),
        holds_99="holds" if precision == "fp32" else "cannot tell",
        share_of_reference=between(1.0, 0.008),
    )


def bin_of(number: int, images: int) -> Confidence:
    low, high = number / 15, (number + 1) / 15
    count = 0 if number < 5 else int(images * (0.02 + 0.8 * (number == 14)))
    return Confidence(
        low=low,
        high=high,
        count=count,
        confidence=(low + high) / 2 if count else None,
        accuracy=min(1.0, (low + high) / 2 + 0.03 * (-1) ** number) if count else None,
    )
