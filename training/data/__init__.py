"""Data for training: the index, its cleaning, leak-proof splits, audit, images and batches."""
