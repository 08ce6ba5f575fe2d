"""What the lab measures: which settings, pictures and counts, on which machines, and where the results go."""
