"""What a cell of `speed` can measure, one file each."""
