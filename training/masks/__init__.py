"""The decoder of lesion masks on a trained classifier's own features: training and measures."""
