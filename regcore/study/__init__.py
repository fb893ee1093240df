"""A study: its configuration, its plan, and the stages that the workflow's scripts call."""

from regcore.study.config import Study
from regcore.study.plan import Plan, fingerprint

__all__ = ["Plan", "Study", "fingerprint"]
