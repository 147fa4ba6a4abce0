"""The audit bundle: its format, parsing, and replay of its transcripts."""
