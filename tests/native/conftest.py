"""The built library."""

from tests.helpers.native.built import built, library

__all__ = ["built", "library"]
