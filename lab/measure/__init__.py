"""How good explanations are: arrays in, numbers out."""
