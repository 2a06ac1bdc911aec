"""Embed2Image: files of the original project for sounds and captions, its heads and its cache of embeddings."""
