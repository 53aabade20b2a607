"""Full ranking, metrics as pure functions of ranks, significance."""
