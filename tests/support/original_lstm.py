"""The model of the speech emotion document."""

import torch


class EmotionLSTM(torch.nn.Module):
    """The document's model, as its page prints it."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(13, 256, num_layers=2, batch_first=True, dropout=0.3)
        self.dropout = torch.nn.Dropout(p=0.3)
        self.fc = torch.nn.Linear(256, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.dropout(self.lstm(x)[0][:, -1]))
