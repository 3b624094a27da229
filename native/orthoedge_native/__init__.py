"""The preparation of radiographs in C++: what orthoedge's runtime uses where it is installed."""

from orthoedge_native._library import instruction_set, prepare

__all__ = ["INTERFACE", "__version__", "instruction_set", "prepare"]

__version__ = "0.1.0"
INTERFACE = 1
"""Changes with the arguments and results of `prepare`."""
