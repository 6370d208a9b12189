"""Real-time fraud detection on Ray."""

__version__ = "0.1.0"
