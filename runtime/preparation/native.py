"""The optional package orthoedge-native, which prepares radiographs in C++ (`native/`)."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from functools import cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import EngineError

__all__ = ["PACKAGE", "NativeLibrary", "find_native_library", "preparation_name"]

PACKAGE = "orthoedge-native"
_MODULE = "orthoedge_native"
_INTERFACE = 2  # of the package's functions


class NativeLibrary(Protocol):
    """What orthoedge_native offers."""

    __version__: str
    INTERFACE: int

    def prepare(
        self,
        radiograph: npt.NDArray[np.uint8],
        crop_field: bool,
        clahe_stage: str,
        clahe_clip: float,
        clahe_tiles: int,
        model_input: npt.NDArray[np.uint8],
        statistics: npt.NDArray[np.float32],
    ) -> tuple[tuple[int, ...], tuple[int, ...], Sequence[float]]:
        """Prepare a radiograph without holding the GIL.

        Args:
            radiograph: uint8 (H, W); the pixels of a row lie next to each other.
            crop_field: whether margins of the collimator are cut.
            clahe_stage: `after`, `before` or `none`.
            clahe_clip: contrast limit of CLAHE.
            clahe_tiles: tiles per side of CLAHE.
            model_input: uint8 (S, S), is written.
            statistics: float32 (L,), is written.

        Returns:
            The collimated field on the radiograph, its position in the model input, and the
            fields of `QualityMeasures`.

        Raises:
            ValueError: an argument is out of range.
            TypeError: an array has another dtype or number of axes.
        """

    def look_up(
        self,
        samples: npt.NDArray[np.uint16],
        table: npt.NDArray[np.uint8],
        pixels: npt.NDArray[np.uint8],
    ) -> None:
        """Look up each sample without holding the GIL.

        Args:
            samples: uint16 (H, W), C-contiguous.
            table: uint8 (65536,), C-contiguous.
            pixels: uint8 (H, W), is written.

        Raises:
            ValueError: `table` or `pixels` has another size.
            TypeError: an array has another dtype, number of axes or layout.
        """

    def instruction_set(self) -> str:
        """Name of the kernels that this processor runs, such as AVX2."""


@cache
def find_native_library() -> NativeLibrary | None:
    """Import orthoedge-native; None where it is not installed.

    Raises:
        EngineError: it is installed and cannot be loaded, or does not fit this orthoedge.
    """
    if importlib.util.find_spec(_MODULE) is None:
        return None
    try:
        library: NativeLibrary = importlib.import_module(_MODULE)  # type: ignore[assignment]
    except (ImportError, OSError) as error:
        raise EngineError(
            f"{PACKAGE} is installed and cannot be loaded: {error}; install it again, or remove "
            f"it with pip uninstall {PACKAGE}"
        ) from error
    version = getattr(library, "__version__", "unknown")
    if getattr(library, "INTERFACE", None) != _INTERFACE:
        raise EngineError(
            f"{PACKAGE} {version} does not fit this orthoedge: install the one that "
            f"orthoedge[native] names, or remove it with pip uninstall {PACKAGE}"
        )
    return library


def preparation_name() -> str | None:
    """Name and version of the native library, as the provenance has it; None for OpenCV.

    Raises:
        EngineError: as `find_native_library`.
    """
    library = find_native_library()
    return None if library is None else f"native {library.__version__}"
