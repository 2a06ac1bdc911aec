"""Constants of the heads that stream, for their torch modules and for the runtime without torch alike.

Saved heads do not contain them: changing one changes what a saved head computes.
"""

from __future__ import annotations

# Running statistics (numerics/pooling.py)
WINDOW = 50  # frames of the first and of the second window
HALF_LIFE = 30.0  # frames, of the fading mean
LEVEL_WIDTH = 0.25  # of the soft step at a level of the histogram, in standard deviations
STATISTICS_VARIANCE = 1e-4  # added to variances
BATCH_NORM_EPSILON = 1e-5  # added to the variances of the statistics

# Correlations (numerics/pooling.py)
LAGS = (5, 10, 20)  # frames: what speech rate and tremor change, at 10 ms a frame
RELATIONS_VARIANCE = 0.05  # added to variances, of columns that have unit variance over the training frames

# Convolutions (heads/tcn.py)
ATTENTION_RANGE = 4.0  # attention weights lie between e^-4 and e^4, so that their running sums stay accurate
ATTENTION_LEAST = 1e-9  # of a sum of attention weights
TCN_VARIANCE = 1e-3  # added to variances
LAYER_NORM_EPSILON = 1e-5
