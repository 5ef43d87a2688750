"""Reinforcement learning of the networks that fly: a recurrent PPO on stable-baselines3 that sees elapsed time."""
