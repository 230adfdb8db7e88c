"""Reads the CSV files that the commands write."""

import csv


def read_rows(path):
    """The rows of a CSV file, a dict of strings each."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
