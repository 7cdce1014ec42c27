"""Trains networks: the training loop, optimisers, devices, data streaming, checkpoints and metrics."""
