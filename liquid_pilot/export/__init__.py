"""C99 from a proved policy: one header and one source, for a microcontroller or for the processor of this machine."""
