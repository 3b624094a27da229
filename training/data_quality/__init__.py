"""Checks of a data set: acceptance, duplicates, leaks between splits, and shortcuts."""
