"""Methods that explain: a model, a picture and a class in, an explanation out."""
