"""Reads each data set from disk: CIFAR, Clothing1M, class folders, the user's own features."""
