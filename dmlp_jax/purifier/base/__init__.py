"""Numerics that both schedules use: ridge regression, Nesterov steps, temperature, scores."""
