"""How many examples a property test tries: at most EXAMPLES, whatever number it names for itself.

``SENSORIUM_EXAMPLES=300`` lifts the limit, as ``make test-thorough`` does; no test tries more than it names.
"""

import os

from hypothesis import is_hypothesis_test, settings

EXAMPLES = int(os.environ.get("SENSORIUM_EXAMPLES", "20"))
#: Of what the tests repeat by themselves, such as kills at random moments, this part is done where the limit is low.
PART = 1 if EXAMPLES > 20 else 3


def times(n: int) -> int:
    """How often a test does what it would do n times: a third of that where the number of examples is limited."""
    return -(-n // PART)


def pytest_collection_modifyitems(items):
    for item in items:
        function = getattr(item, "obj", None)
        function = getattr(function, "__func__", function)  # of a method
        if is_hypothesis_test(function):
            # Where hypothesis keeps what @settings said; a profile gives way to it.
            own = getattr(function, "_hypothesis_internal_use_settings", None) or settings()
            if own.max_examples > EXAMPLES:
                function._hypothesis_internal_use_settings = settings(own, max_examples=EXAMPLES)
