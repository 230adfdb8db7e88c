"""Whole-body phantoms: synthetic patients from neck to thighs, to train networks for real CT from any scanner.

    scan.py         one scan, its labels and notes from a seed
    patient.py tissues.py       one body: sizes and cavities; HU by contrast phase, with wider ranges than in reality
    frame.py skeleton.py thorax.py organs.py bowel.py pelvis.py vessels.py devices.py      everything except kidneys
    kidneys.py parenchyma.py urinary.py lesions.py      plan of the kidneys, their tissue and lesions
    scanner.py      field of view, pose, table, blur, noise, streaks
    canvas.py shapes.py         drawing on an oblique, deformed grid
"""
