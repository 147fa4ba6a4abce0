"""Messages, what they are signed under, and transcripts."""
