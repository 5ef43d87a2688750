"""Next-step prediction of recorded motion: the benchmark that liquid networks are argued about with."""
