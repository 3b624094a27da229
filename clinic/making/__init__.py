"""The process that reads the headers of images and makes the results, and the worker's side of it.

A process of its own for two reasons. Elements of a header can be hostile: whatever they do to the
parser, they do it to a process with limits, and the engine stays open. And highdicom's tables and
the pixels of four results take as much memory as the engine, which has to run on a small box.
"""
