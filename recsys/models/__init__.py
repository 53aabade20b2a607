"""Every recommender, by its name in YAML."""
