"""Raw files in, interactions and splits out."""
