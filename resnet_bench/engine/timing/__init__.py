"""Taking times, and what spoils them."""
