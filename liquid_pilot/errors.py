"""One family of errors. Each message says what was found, what is allowed and the fix."""

from __future__ import annotations


class LiquidPilotError(Exception):
    """Root of every error that this project raises on purpose."""


class MessageError(LiquidPilotError, ValueError):
    """A sensor message, set-point or command has a wrong shape, type or value."""


class BundleError(LiquidPilotError, ValueError):
    """A policy file cannot be trusted: truncated, edited, of another schema or not reproducible."""


class ConfigError(LiquidPilotError, ValueError):
    """A name, option or parameter file is not one that exists or makes sense."""


class SimulationError(LiquidPilotError, RuntimeError):
    """A simulated world was used out of order or left the finite numbers."""


class TrainingError(LiquidPilotError, RuntimeError):
    """A training run cannot start, resume or go on."""


class WorkerError(LiquidPilotError, RuntimeError):
    """Workers that share a job were lost again and again, or cannot be reached."""


class MissingExtraError(LiquidPilotError, ImportError):
    """An optional dependency is not installed; the message holds the install line."""


class LinkError(LiquidPilotError, OSError):
    """A link to an autopilot cannot be opened, was lost, or is not what it should be."""


def unknown_name(kind: str, found: object, allowed: list[str]) -> str:
    """Sentence for a name that does not exist: what was found and what there is."""
    return f"unknown {kind} {found!r}; choose one of: {', '.join(sorted(allowed))}"
