"""Scripts: wiring only; each reads top to bottom."""
