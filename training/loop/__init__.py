"""The training loop, which classifiers and segmentation share."""
