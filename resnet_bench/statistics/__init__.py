"""Intervals, comparisons and fronts: numbers in, numbers out."""
