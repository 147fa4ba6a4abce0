"""DP-SGD: per-example gradients, clipping, noise and sampling."""
