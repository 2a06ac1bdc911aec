"""Systems: one folder a system, with what only its old project's contract asks for: file formats, endpoints, a page."""
