"""Taking times, and what disturbs them."""
