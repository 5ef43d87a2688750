"""Learning from an expert's flights: teachers, recorded flights, behaviour cloning, DAgger."""
