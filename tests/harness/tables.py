"""Reads the CSV files that the commands write."""

import csv


def read_rows(path):
    """Returns the rows of a CSV file, each as a dict of strings."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
