"""Registration of single images and of whole populations, in world coordinates."""

__version__ = "0.1.0"
