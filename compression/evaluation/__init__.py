"""Metrics of a network, and the consistency of the engines that run it."""
