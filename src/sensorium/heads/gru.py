"""GRU over frames, read at the last valid frame; one frame or many at a time with carried state h."""

from functools import partial

from torch import nn

from sensorium.heads._recurrent import Recurrent

Gru = partial(Recurrent, "gru", nn.GRU, 1, hidden=128, depth=1)
