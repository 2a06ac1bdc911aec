"""Systems: one folder a system, with what only its old project's contract requires: file formats, endpoints, a page."""
