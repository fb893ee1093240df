"""The paragraphs that a paper has about a study, written from its configuration."""

from regcore.study.methods.describe import describe_methods
from regcore.study.methods.libraries import libraries_of

__all__ = ["describe_methods", "libraries_of"]
