"""Whole-body phantoms: synthetic patients from neck to thighs, to teach nets that work on real CT from any scanner.

    scan.py         one scan, its labels and notes from a seed
    patient.py tissues.py       one body: sizes and rooms; HU by contrast phase, wider than in life
    frame.py skeleton.py thorax.py organs.py bowel.py pelvis.py vessels.py devices.py      all but kidneys
    kidneys.py parenchyma.py urinary.py lesions.py      plan of the kidneys; what they are filled with
    scanner.py      field of view, pose, table, blur, noise, streaks
    canvas.py shapes.py         drawing on an oblique, deformed grid
"""
