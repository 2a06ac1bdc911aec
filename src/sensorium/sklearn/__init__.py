"""scikit-learn: heads as an estimator, ``sensorium.sklearn.Aligner``, for pipelines and grid searches.

>>> from sensorium.sklearn import Aligner                          # doctest: +SKIP
>>> make_pipeline(StandardScaler(), Aligner(dim=32)).fit(X, Y)     # doctest: +SKIP
"""

from sensorium.errors import require

require("sklearn", "sklearn")

from sensorium.sklearn.aligner import Aligner  # noqa: E402  needs scikit-learn, whose absence is said first

__all__ = ["Aligner"]
