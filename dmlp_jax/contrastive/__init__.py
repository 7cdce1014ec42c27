"""Features without labels: contrastive pretraining, extraction, probes."""
