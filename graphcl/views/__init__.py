"""Views of graphs and of embeddings: transforms of PyG data, and callables [N, d] -> [N, d]."""
