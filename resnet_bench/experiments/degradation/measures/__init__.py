"""Measures networks for the studies: everything of `degradation` that needs torch."""
