"""What is handed in: the executed notebooks, the report, and the archive of it all."""
