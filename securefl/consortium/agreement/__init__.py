"""What the members signed: who takes part, and under which terms."""
