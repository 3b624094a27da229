"""Images for training: index, splits, cache, crops, augmentation and batches."""
