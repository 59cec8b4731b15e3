"""What a person sees of `degradation`."""
