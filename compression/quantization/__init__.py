"""INT8: quantizing, checking, and what is done where it loses too much."""
