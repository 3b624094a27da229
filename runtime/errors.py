"""Every error orthoedge raises on purpose.

OrthoEdgeError
├── InputError            a file or an array is not a radiograph this tool can read
├── DataError             an index, a split or a data folder is not usable
├── RecipeError           a setting is unknown, of the wrong type, or out of range
├── BundleError           a bundle is missing or is not what its manifest says
│   └── IntegrityError    a file is not what its size, hash or signature says
├── EngineError           an engine cannot be opened or its answer is not usable
│   └── UnknownTarget     no target of that name
├── DeadlineExceeded      one call took longer than it was allowed; the next one works
├── MissingDependency     a package is not installed; the message holds the pip line
└── GateFailed            a compressed model lost more than its recipe allows

The command line prints the message as one line on stderr and exits with 2.
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
    "OrthoEdgeError",
    "UnknownTarget",
]


class OrthoEdgeError(Exception):
    """Root of the tree; its message is one line that says what was wrong, where, and what to do."""


class InputError(OrthoEdgeError):
    """A file or an array is not a radiograph this tool can read."""

    @classmethod
    def unreadable(cls, error: OSError) -> InputError:
        """The system could not read the file; its path is left to whoever asked for it."""
        return cls(f"cannot read the file: {error.strerror or error}")


class DataError(OrthoEdgeError):
    """An index, a split or a data folder is not usable."""


class ConfigError(OrthoEdgeError):
    """A setting is unknown, of the wrong type, or out of range."""


class BundleError(OrthoEdgeError):
    """A bundle is missing, or is not what its manifest says."""


class IntegrityError(BundleError):
    """A file is not what its size, its hash or its signature says."""


class EngineError(OrthoEdgeError):
    """An engine cannot be opened, or its answer is not usable."""


class UnknownTarget(EngineError):
    """No target of that name."""


class DeadlineExceeded(OrthoEdgeError):
    """One call took longer than it was allowed; the next one works."""


class MissingDependency(OrthoEdgeError):
    """A package is not installed; the message says what brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(package, extra, purpose)  # what a copy in another process is made of

    def __str__(self) -> str:
        """The line."""
        package, extra, purpose = self.args
        missing = f"{package} is not installed and is needed for {purpose}"
        if extra == "jetson":  # pip must not replace what JetPack has
            return f"{missing}: see docs/jetson.md"
        return f"{missing}: pip install 'orthoedge[{extra}]'"


class GateFailed(OrthoEdgeError):
    """A compressed model lost more than its recipe allows; no bundle was written."""
