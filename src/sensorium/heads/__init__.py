"""Heads: small maps into the shared space, one file each. ``heads.load("runs/mine/left")`` is one as an ``nn.Module``.

What all of them share is used from here: ``heads.apply`` and ``heads.project`` for vectors and tables,
``heads.compose`` for sets of items,
``heads.save`` and ``heads.restore`` for files, ``heads.check*`` for what is refused.
"""

from sensorium.heads._base import (
    apply,
    category_codes,
    check,
    check_dim,
    check_finite,
    compose,
    load,
    project,
    restore,
    save,
)

__all__ = [
    "apply",
    "category_codes",
    "check",
    "check_dim",
    "check_finite",
    "compose",
    "load",
    "project",
    "restore",
    "save",
]
