"""Heterogeneous graphs from files, as PyG `HeteroData`."""
