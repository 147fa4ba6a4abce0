"""What several tests share; importable as `support` because tests/ is on pytest's path."""
