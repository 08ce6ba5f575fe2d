import os

# Before any module of the lab is imported: tests take no download and small counts.
os.environ.setdefault("LAB_PROFILE", "quick")
os.environ.setdefault("LAB_BLACKBOX", "offline")
