"""How fast each variant runs forward, backward and a whole step."""
