"""Order stock by predicted quantiles of demand."""
