"""Figures: results and images in, figures out, in one style and without a network."""
