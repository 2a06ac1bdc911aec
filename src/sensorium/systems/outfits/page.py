"""What the view says of itself: the page *Outfit*, for runs whose items have categories."""

from sensorium.search.looks import CATEGORY
from sensorium.serve.systems import About

PAGE = About(title="Outfit", column=CATEGORY)
