"""What a person sees of `speed`."""
