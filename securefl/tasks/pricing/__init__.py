"""Estimate price elasticities, and the prices that follow from them."""
