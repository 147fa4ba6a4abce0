"""What several tasks share: splits, histories, contribution bounds, the local baseline."""
