"""LSTM over frames, read at the last valid frame; one frame or many at a time with carried state h and c."""

from functools import partial

from torch import nn

from sensorium.heads._recurrent import Recurrent

Lstm = partial(Recurrent, "lstm", nn.LSTM, 2, hidden=256, depth=2)
