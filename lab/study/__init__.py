"""What the lab measures: the studies of LIME, of RISE, and of all methods.

Each study is a module with two functions. ``tasks(images, profile)`` lists all that it
measures as `lab.study.runner.Task`, from the images by kind (dict of str to list of
pathlib.Path; for photographs, their folder) and a `lab.study.profile.Profile`.
``derive(results)`` computes the tables that follow (dict of str to pandas.DataFrame)
from the tables of its tasks (`lab.study.results.Results`). `lab.study.runner.version`
stands above each task's function: raise it when the numbers change.
"""
