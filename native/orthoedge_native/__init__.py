"""The preparation of radiographs in C++: what orthoedge's runtime uses where it is installed."""

from orthoedge_native._library import instruction_set, look_up, prepare

__all__ = ["INTERFACE", "__version__", "instruction_set", "look_up", "prepare"]

__version__ = "0.1.0"
INTERFACE = 2
"""Changes with the functions, their arguments and their results."""
