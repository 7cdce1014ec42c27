"""Data sets, label noise, splits and augmentation."""
