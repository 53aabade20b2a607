"""The contract of everything that learns, the one loop, checkpoints and records."""
