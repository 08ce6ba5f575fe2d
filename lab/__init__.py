"""Explaining black-box image classifiers: LIME and RISE side by side."""
