"""What the lab measures: the studies of LIME, of RISE, and of methods compared.

A study's module has a function that lists what it measures, as
`lab.study.store.Task`, from a `lab.study.profile.Plan`; functions that measure; and
``DERIVED``, the tables that follow from what was measured. `lab.study.store.version`
stands above each function that measures: raise it when the numbers change.
"""
