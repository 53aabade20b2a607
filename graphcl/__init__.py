"""Contrastive learning on graphs and embeddings.

Not the GraphCL method and not PyGCL: `graphcl` is a library of views, encoders and objectives, of which that
method is one combination. It knows graphs and representations, and has never heard of users and items.
"""
