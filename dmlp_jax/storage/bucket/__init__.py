"""A run's folder kept in a cloud bucket (gs://...)."""
