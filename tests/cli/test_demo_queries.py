"""The queries that the demo shows: the recipe's examples, and a validation item chosen by rule, not by how it looks."""

import numpy as np

from sensorium.cli.make import _hard
from sensorium.evaluate import compare


def test_the_hard_name_is_at_the_third_quartile_of_the_validation_ranks(tmp_path):
    best = np.array([1, 7, 2, 1, 40])  # of the queries e, d, c, b, a; the best of two relevant items each
    ranks = np.stack([best, best + 3], 1).ravel().astype(np.int32)
    columns = {"query": np.array(list("edcba")), "group": np.arange(5), "offsets": np.arange(0, 11, 2), "ranks": ranks,
               "candidates": np.array(["50", "x"])}  # fmt: skip
    np.savez(tmp_path / compare.FILE, **{f"validation_right_to_left_{name}": one for name, one in columns.items()})
    assert _hard(tmp_path) == ("d", 7, 50)  # sorted ranks 1 1 2 7 40
