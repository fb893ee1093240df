"""The command line: ``regcore COMMAND``; `main` is its entry point.

Commands import what they need when they run, so that ``regcore --help`` answers at once.
"""

from regcore.cli.app import app, main

__all__ = ["app", "main"]
