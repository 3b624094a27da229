"""Latency, accuracy and explanation quality, like for like."""
