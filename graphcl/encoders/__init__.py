"""Encoders of graphs: (x [N, d], adjacency) -> [N, d]."""
