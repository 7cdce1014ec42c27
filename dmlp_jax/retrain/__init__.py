"""Trains classifier networks on purified labels, by the methods of the noisy-label literature."""
