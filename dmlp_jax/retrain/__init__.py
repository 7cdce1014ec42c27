"""Networks retrained from purified labels."""
