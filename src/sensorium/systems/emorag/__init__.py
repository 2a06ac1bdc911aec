"""EmoRAG: the voice clip whose emotion fits a line, as a prompt for zero-shot text to speech (TTS)."""
