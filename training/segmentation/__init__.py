"""Outlines of lesions: U-Net, its data, loss and measures."""
