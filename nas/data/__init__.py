"""Data sets: images, labels and their split."""
