"""How good explanations are: arrays and tables in, numbers out."""
