"""Accuracy after transfer, by variant and strategy."""
