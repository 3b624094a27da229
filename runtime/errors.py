"""The errors that orthoedge raises on purpose.

OrthoEdgeError
├── InputError            a file or an array is not a radiograph this tool can read
├── DataError             an index, a split or a data folder is not usable
├── ConfigError           a setting is unknown, of the wrong type, or out of range; a ValueError too
├── BundleError           a bundle is missing or does not match its manifest
│   └── IntegrityError    a file does not match its size, hash or signature
├── ModelError            an ONNX model is invalid or cannot run on every engine
├── EngineError           an engine cannot be opened or its output is not usable
│   └── UnknownTarget     no target of that name
├── DeadlineExceeded      one call took longer than allowed; the next one works
├── MissingDependency     a package is not installed; the message holds the pip line
└── GateFailed            a compressed model lost more than its recipe allows

The command line prints the message as one line on stderr and exits with 2, for GateFailed with 1.
"""

from __future__ import annotations

__all__ = [
    "BundleError",
    "ConfigError",
    "DataError",
    "DeadlineExceeded",
    "EngineError",
    "GateFailed",
    "InputError",
    "IntegrityError",
    "MissingDependency",
    "ModelError",
    "OrthoEdgeError",
    "RecipeError",
    "UnknownTarget",
]


class OrthoEdgeError(Exception):
    """Root of the tree. The message is one line: what is wrong, where, and the remedy."""


class InputError(OrthoEdgeError):
    """A file or an array is not a radiograph this tool can read."""

    @classmethod
    def unreadable(cls, error: OSError) -> InputError:
        """Build the error for a file that the system cannot read; the caller adds the path."""
        return cls(f"cannot read the file: {error.strerror or error}")


class DataError(OrthoEdgeError):
    """An index, a split or a data folder is not usable."""


class ConfigError(OrthoEdgeError, ValueError):
    """A setting is unknown, of the wrong type, or out of range: in a recipe, option or argument."""


RecipeError = ConfigError  # the former name, which programs may still import


class BundleError(OrthoEdgeError):
    """A bundle is missing or does not match its manifest."""


class IntegrityError(BundleError):
    """A file does not match its size, hash or signature."""


class ModelError(OrthoEdgeError):
    """An ONNX model is invalid, or one of the engines could not run it."""


class EngineError(OrthoEdgeError):
    """An engine cannot be opened, or its output is not usable."""


class UnknownTarget(EngineError):
    """No target of that name."""


class DeadlineExceeded(OrthoEdgeError):
    """One call took longer than allowed; the next one works."""


class MissingDependency(OrthoEdgeError):
    """A package is not installed; the message holds the pip line."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(package, extra, purpose)  # `args` rebuild it in another process

    def __str__(self) -> str:
        """One line with the remedy."""
        package, extra, purpose = self.args
        missing = f"{package} is not installed and is needed for {purpose}"
        if extra == "jetson":  # pip must not replace the packages of JetPack
            return f"{missing}: see docs/embed/jetson.md"
        return f"{missing}: pip install 'orthoedge[{extra}]'"


class GateFailed(OrthoEdgeError):
    """A compressed model lost more than its recipe allows; no bundle was written."""
