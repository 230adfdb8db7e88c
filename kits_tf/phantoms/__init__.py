"""Studies of drawn CT scans, shaped as KiTS19 is: to try, test and demonstrate the program without patients' data.

    abdomen.py      one scan and its labels from a seed
    study.py        a folder of cases
    anatomy.py      drawn scans around kidneys and tumors from KiTS19's label files, as hard as real ones
    body/           whole-body phantoms: neck to thighs, any phase and scanner, to train nets for real scans
    surroundings.py artefacts.py    what makes them hard
    kidneys.py torso.py organs.py parenchyma.py tissues.py drawing.py      what they are drawn from
"""
