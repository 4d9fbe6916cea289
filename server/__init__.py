"""ichat: the backend of a real-time chat and calling service."""

__version__ = "0.1.0"
