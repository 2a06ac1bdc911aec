"""``python -m sensorium``, where the ``sensorium`` command is not on the path."""

from sensorium.cli import main

if __name__ == "__main__":
    main()
