"""The networks, what they are made of and what they cost."""
