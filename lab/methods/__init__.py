"""Methods that explain: from a model, an image and a class to an explanation."""
