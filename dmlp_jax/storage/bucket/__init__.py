"""Keeps a run's workdir in a cloud bucket (gs://...)."""
