"""What is handed in: the report, the findings that it states, and the archive."""
