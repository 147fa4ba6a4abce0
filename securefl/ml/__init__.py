"""Plain learning: batches, parameters, local SGD, metrics. No privacy and no retail here."""
