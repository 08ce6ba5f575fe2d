# ruff: noqa
"""Read by every nbgrader command that runs in dist/course."""

c = get_config()
# The lab's environment: nbgrader's own has no NumPy, so that every cell would fail.
c.ExecutePreprocessor.kernel_name = "lab"
c.ExecutePreprocessor.timeout = 1800  # seconds for a cell; nbgrader allows 30
