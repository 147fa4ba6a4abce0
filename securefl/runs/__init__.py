"""Run directories: what a run leaves on disk, and how it resumes."""
