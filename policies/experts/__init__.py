"""Controllers that are told more than a drone can know: upper rows of tables, and teachers."""
