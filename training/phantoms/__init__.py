"""Phantoms: rendered radiographs of bones with fractures and tumours, for tests and examples."""
