"""Links to autopilots: bytes in, messages out on our clock; commands in, bytes out."""
