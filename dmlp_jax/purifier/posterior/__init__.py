"""The default schedule: expectation maximisation with leave-one-out predictions."""
