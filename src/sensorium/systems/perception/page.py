"""What the view says of itself: the page *Face*, where a run is served of which one side takes faces."""

from sensorium.serve.systems import About

PAGE = About(title="Face", name="face", side="face", open=("/faces/model/",))
