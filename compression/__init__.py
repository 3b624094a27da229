"""Compression: distil, prune, export, quantize, calibrate, gate, bundle."""
