"""Figures: results and pictures in, figures out, in one style and without a network."""
