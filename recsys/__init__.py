"""Recommenders that learn by contrast: data, views, models, training, evaluation, command line."""
