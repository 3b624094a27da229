"""Phantom radiographs: rendered, labelled images with the lesion marked."""
