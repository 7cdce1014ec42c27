"""Implements the retraining methods, one file each, and the losses and mixing that they share."""
