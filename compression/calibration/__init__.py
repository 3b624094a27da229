"""Calibration of probabilities and thresholds, and the out-of-distribution score."""
