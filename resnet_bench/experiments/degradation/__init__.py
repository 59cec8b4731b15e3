"""Plain against residual networks of identical weights, with a verdict per claim."""
