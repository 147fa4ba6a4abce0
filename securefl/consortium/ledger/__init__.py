"""What was spent: each member's privacy ledger, and the coordinator's transparency log."""
