"""From the cohort's changes to their weighted mean, in each mode."""
