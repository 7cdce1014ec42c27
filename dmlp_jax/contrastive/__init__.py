"""Pretrains an encoder without labels (SimCLR, MoCo-v2), extracts its features and evaluates them."""
