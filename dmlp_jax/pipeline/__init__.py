"""Runs the five stages from images to a report: pretrain, extract, purify, retrain, report."""
