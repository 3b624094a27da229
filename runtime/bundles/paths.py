"""Where the bundles and samples inside the package lie, and the bundle that a user names.

Without numpy: a server that hands the path on to a process of its own stays small.
"""

from __future__ import annotations

from pathlib import Path

from orthoedge.runtime.errors import BundleError

_ASSETS = Path(__file__).parents[1] / "assets"

EMBEDDED = _ASSETS / "bundle"
"""The default bundle inside the package, trained on radiographs; an installation may lack it."""

PHANTOM = _ASSETS / "phantom"
"""The phantom demonstration inside the package, trained on rendered phantoms."""

SAMPLES = _ASSETS / "samples" / "radiographs"
"""Radiographs inside the package, which `EMBEDDED` was not trained on."""

PHANTOM_SAMPLES = _ASSETS / "samples" / "phantoms"
"""Phantoms inside the package, which `PHANTOM` was not trained on."""


def bundle_path(given: Path | str | None = None) -> Path:
    """Path of a bundle that a user names; the inverse of `bundle_argument`.

    Args:
        given: None for `EMBEDDED`, the word `phantom` for `PHANTOM`, else a folder or a .zip. A
            folder of that name is written `./phantom`, or given as a `pathlib.Path`.

    Raises:
        BundleError: None, and this installation has no default bundle.
    """
    if given is None:
        if not EMBEDDED.exists():
            raise BundleError(
                "this installation has no default bundle: pass one, such as --bundle FOLDER or "
                "--bundle phantom"
            )
        return EMBEDDED
    return PHANTOM if given == "phantom" else Path(given)


def bundle_argument(path: Path) -> str:
    """The argument for which `bundle_path` returns `path`."""
    if path == PHANTOM:
        return "phantom"
    return "./phantom" if path == Path("phantom") else str(path)
