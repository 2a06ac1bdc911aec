"""What the view says of itself: the page *Voices*, for runs that find sounds by text."""

from sensorium.serve.systems import About

PAGE = About(title="Voices", name="voices", kinds=("text", "audio"))
