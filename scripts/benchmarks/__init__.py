"""What `scripts.benchmark` can measure."""
