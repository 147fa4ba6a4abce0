"""What other parties wrote: its text as it may be shown, its files and documents within limits."""
