"""What the world does to a guest: interpreters, kernels, signals, limits, other libraries."""
