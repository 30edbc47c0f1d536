"""Examine the files of a project in other processes, here or on other machines."""
