"""Live input: many streams as one batch, a session of one stream, a tracker of labelled segments."""
