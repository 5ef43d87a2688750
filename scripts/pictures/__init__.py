"""Pictures of flights, training and rate sweeps, and the self-contained HTML report."""
