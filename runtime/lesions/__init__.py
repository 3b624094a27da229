"""Regions that a network outlines, measured on the radiograph."""
