"""A MAVLink autopilot of our own, with PX4's rules, that flies a simulated drone: the other end of a link."""
