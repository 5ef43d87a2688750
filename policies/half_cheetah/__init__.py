"""Policies of HalfCheetah: teachers, imitation of them, reinforcement learning."""
