"""Speech emotion: the original's model.pth and the messages of its live server."""
