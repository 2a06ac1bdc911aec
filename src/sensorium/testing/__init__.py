"""Contract tests of parts: ``check(Flip)`` in a test, ``python -m sensorium.testing my_parts.py:Flip`` in a shell.

A rule is a function whose docstring says it in one sentence; it raises AssertionError with what was
found instead. The rules of a kind are in the file of that name; :mod:`sensorium.contracts` says what
they follow from.
"""

from __future__ import annotations

from sensorium.testing.rules import Finding, Skip, check, findings, kind_of

__all__ = ["Finding", "Skip", "check", "findings", "kind_of"]
