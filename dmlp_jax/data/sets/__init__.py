"""Reads each data set: CIFAR, Clothing1M, class folders, features of one's own."""
