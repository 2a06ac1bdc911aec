"""Engine: served runs and their workers, dynamic batching, query answering, streams, the map."""
