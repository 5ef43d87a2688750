"""Controllers with privileged state: upper rows of tables, and teachers."""
