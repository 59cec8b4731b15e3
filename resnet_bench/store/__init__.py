"""Run files: how results are kept and read back."""
