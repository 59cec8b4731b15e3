"""What a variant is made of, counted in every usual way."""
