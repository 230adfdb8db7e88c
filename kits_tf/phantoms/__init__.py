"""Synthetic CT phantoms in KiTS19's layout, to try, test and demonstrate the program without patient data.

    abdomen.py      one scan and its labels from a seed
    study.py        a folder of cases
    anatomy.py      synthetic scans around kidneys and tumors from KiTS19's label files, as hard as real ones
    body/           whole-body phantoms: neck to thighs, any phase and scanner, to train networks for real scans
    surroundings.py artifacts.py    adjacent organs and scanner artifacts that make phantoms hard
    kidneys.py torso.py organs.py parenchyma.py tissues.py drawing.py      anatomy, HU values and drawing functions
"""
