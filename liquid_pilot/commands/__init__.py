"""Commands of `liquid-pilot`, one a file."""
