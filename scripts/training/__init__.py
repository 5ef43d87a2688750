"""Training methods, one module each, all with `run(options, console) -> policy file`."""
