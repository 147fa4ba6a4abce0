"""How the updates of a cohort become one: FedAvg in the clear, or secure aggregation."""
