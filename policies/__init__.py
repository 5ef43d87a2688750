"""Learning: torch cells, networks, trainers, experts. Import what you need from its modules."""
