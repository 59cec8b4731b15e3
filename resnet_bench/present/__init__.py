"""How results look: tables, figures, SVG, machines and published figures."""
