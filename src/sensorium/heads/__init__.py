"""Heads: small maps into the shared space, one file each.

What all of them share is used from here: ``heads.apply`` and ``heads.project`` for vectors and tables,
``heads.save`` and ``heads.load`` for files, ``heads.check*`` for what is refused.
"""

from sensorium.heads._base import apply, check, check_dim, check_finite, load, project, save

__all__ = ["apply", "check", "check_dim", "check_finite", "load", "project", "save"]
