"""Kept for tools that look for it; all metadata stands in pyproject.toml."""

from setuptools import setup

setup()
