"""What every training loop shares: state, devices, checkpoints, metrics, epochs."""
