"""Faces: pictures that encoders of faces take; read, packed and shown as any picture is."""

from sensorium.modalities.image import Pictures

modality = Pictures("face", "a picture of a face")
