"""Curves of time and memory over image size, batch, classes, threads and files."""
