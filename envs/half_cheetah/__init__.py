"""HalfCheetah in PyBullet or MuJoCo, at a regular or irregular rhythm (`liquid_pilot/HalfCheetah-v0`)."""
