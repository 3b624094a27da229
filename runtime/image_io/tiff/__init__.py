"""TIFF files: their layout, and their pixels."""
