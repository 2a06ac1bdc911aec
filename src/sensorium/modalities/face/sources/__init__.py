"""Sources of landmarks, one a file: two interfaces of MediaPipe, and numbers that were computed elsewhere."""
