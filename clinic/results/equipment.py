"""Names of the equipment in the objects that orthoedge makes."""

from __future__ import annotations

MANUFACTURER = "orthoedge"
"""Manufacturer (0008,0070) of every object made here, and of no other."""
