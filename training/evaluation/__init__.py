"""Evaluation of a trained network: scores with intervals, fusion rules, plots and report."""
