"""What a store holds: the row of an input, its columns in Parquet, and what made the rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from orthoedge.runtime.errors import MissingDependency
from orthoedge.runtime.finding import Provenance, Timing

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "SCHEMA",
    "ArchiveRow",
    "RunRecord",
    "arrow_schema",
    "check_parquet",
    "field_names",
]

SCHEMA: Literal["orthoedge-archive-1"] = "orthoedge-archive-1"


class RunRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What made all rows of one bundle."""

    schema: Literal["orthoedge-archive-1"] = SCHEMA
    bundle: str
    bundle_version: str
    bundle_sha256: str
    labels: tuple[str, ...]
    intended_use: str
    target: str
    precision: str
    threads: int
    """CPU threads of an engine; the last bits of some engines depend on it."""


@dataclass(frozen=True)
class ArchiveRow:
    """One input, answered by one bundle."""

    input: str
    """Absolute path, or address of a DICOMweb instance."""
    source: str
    """Collection; empty where the source names none."""
    truth: str | None
    """Label that the index gives."""
    label: str | None = None
    """The most probable label; None where there is an error."""
    probabilities: dict[str, float] = field(default_factory=dict)
    """Calibrated."""
    label_set: tuple[str, ...] = ()
    decision: str | None = None
    """`report`, `refer` or `reject`; None where there is an error."""
    reasons: tuple[str, ...] = ()
    """Why the decision is not `report`."""
    out_of_distribution: float | None = None
    notes: tuple[str, ...] = ()
    """Remarks of the reader and the engine."""
    saliency_map: list[list[float]] | None = None
    """Grad-CAM++ of the label, float32 (h, w); None without `--maps`."""
    height: int | None = None
    """Rows of the radiograph."""
    width: int | None = None
    """Columns of the radiograph."""
    pixels_sha256: str | None = None
    """Of the radiograph as decoded, uint8 (H, W), row by row."""
    file_sha256: str | None = None
    provenance: Provenance | None = None
    """Bundle and engine; None where there is an error."""
    error: str | None = None
    """Why there is no answer."""
    host: str = ""
    """Machine that answered."""
    finished_at: datetime | None = None
    """UTC, milliseconds."""
    timing_ms: Timing | None = None


def check_parquet() -> None:
    """Raise MissingDependency unless pyarrow is installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingDependency("pyarrow", "cluster", "the store of an archive") from error


def arrow_schema() -> pa.Schema:
    """The columns of a part, in the order of `ArchiveRow`."""
    import pyarrow as pa

    text, texts, number = pa.string(), pa.list_(pa.string()), pa.float64()
    columns = {
        "input": text,
        "source": text,
        "truth": text,
        "label": text,
        "probabilities": pa.map_(text, number),
        "label_set": texts,
        "decision": text,
        "reasons": texts,
        "out_of_distribution": number,
        "notes": texts,
        "saliency_map": pa.list_(pa.list_(pa.float32())),
        "height": pa.int32(),
        "width": pa.int32(),
        "pixels_sha256": text,
        "file_sha256": text,
        "provenance": pa.struct(
            {each: pa.int32() if each == "threads" else text for each in field_names(Provenance)}
        ),
        "error": text,
        "host": text,
        "finished_at": pa.timestamp("ms", "UTC"),
        "timing_ms": pa.struct(dict.fromkeys(field_names(Timing), number)),
    }
    return pa.schema(columns, {"orthoedge": SCHEMA})


def field_names(kind: type) -> tuple[str, ...]:
    """The fields of a dataclass, in their order."""
    return tuple(kind.__dataclass_fields__)  # type: ignore[attr-defined]
