"""How many examples a property test tries: at most EXAMPLES, whatever number it names for itself.

``SENSORIUM_EXAMPLES=300`` lifts the limit, as ``make test-thorough`` does; no test tries more than it names.
"""

import os

from hypothesis import is_hypothesis_test, settings

EXAMPLES = int(os.environ.get("SENSORIUM_EXAMPLES", "20"))


def pytest_collection_modifyitems(items):
    for item in items:
        function = getattr(item, "obj", None)
        function = getattr(function, "__func__", function)  # of a method
        if is_hypothesis_test(function):
            # Where hypothesis keeps what @settings said; a profile gives way to it.
            own = getattr(function, "_hypothesis_internal_use_settings", None) or settings()
            if own.max_examples > EXAMPLES:
                function._hypothesis_internal_use_settings = settings(own, max_examples=EXAMPLES)
