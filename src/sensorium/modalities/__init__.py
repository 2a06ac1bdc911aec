"""Modalities: one folder a kind of item, which says how its items are read, decoded, packed and shown."""
