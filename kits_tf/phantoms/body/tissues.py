"""Hounsfield units of one patient's tissues, by contrast phase, with wider ranges than in reality.

The ranges of the phases come from radiology textbooks. In one patient in five, HU are randomized like in SynthSeg
(Billot et al. 2023, arXiv:2107.09559), which draws every tissue's intensity at random; here within limits that keep a
kidney different from fat.
"""

import dataclasses
import typing

import numpy as np

PHASES = ("native", "arterial", "late_arterial", "portal_venous", "nephrographic", "excretory", "weak")
SHARES = (0.26, 0.08, 0.15, 0.21, 0.12, 0.1, 0.08)

SOFT_HU = 45.0  # soft tissue without iodine
IODINE = {80: 1.45, 100: 1.2, 120: 1.0, 140: 0.88}  # HU of iodine relative to 120 kV

NAMES = ("cortex", "medulla", "urine", "artery", "vein", "cava", "liver", "portal", "spleen", "pancreas", "gut_wall",
         "myocardium")
#            cortex      medulla     urine        artery      vein        cava        liver      portal      spleen
RANGES = {
    "native": ((12, 44), (12, 42), (-4, 16), (32, 52), (30, 50), (30, 50), (38, 70), (34, 50), (38, 56),
               (28, 48), (24, 44), (40, 56)),
    "arterial": ((110, 190), (38, 75), (0, 15), (240, 420), (70, 150), (35, 65), (48, 76), (50, 110), (95, 165),
                 (75, 120), (50, 95), (90, 130)),
    "late_arterial": ((160, 245), (60, 135), (0, 15), (200, 330), (130, 200), (50, 110), (70, 105), (110, 170),
                      (110, 165), (85, 130), (60, 115), (95, 140)),
    "portal_venous": ((88, 220), (78, 195), (0, 18), (130, 190), (125, 185), (95, 170), (85, 130), (140, 200),
                      (100, 145), (75, 115), (65, 115), (85, 120)),
    "nephrographic": ((85, 205), (85, 205), (0, 30), (110, 165), (110, 160), (105, 155), (82, 125), (115, 165),
                      (92, 135), (70, 105), (60, 105), (80, 115)),
    "excretory": ((80, 145), (85, 155), (180, 1500), (75, 125), (75, 120), (75, 120), (70, 110), (80, 125),
                  (75, 110), (55, 90), (50, 90), (65, 95)),
}
#            then: pancreas, gut_wall, myocardium


@dataclasses.dataclass(frozen=True)
class Tissues:
    """Mean HU of one patient's tissues; `wild` means that they were drawn independently of the phase."""

    phase: str
    wild: bool
    cortex: float
    medulla: float
    urine: float
    artery: float
    vein: float
    cava: float
    liver: float
    portal: float
    spleen: float
    pancreas: float
    gut_wall: float
    myocardium: float
    blood: float  # in the heart
    muscle: float
    fat: float
    lung: float
    marrow: float
    bone: float
    disc: float
    bile: float
    skin: float
    fluid: float
    grain: float  # factor of every tissue's texture

    @classmethod
    def random(cls, rng: np.random.Generator) -> typing.Self:
        """Draws tissues in a random phase; one patient in six has a fatty liver, one in five is wild."""
        phase = str(rng.choice(PHASES, p=SHARES))
        together = rng.random()  # strength of enhancement shared by all tissues

        def within(low, high):
            share = np.clip(0.6 * together + 0.4 * rng.random() + rng.normal(0, 0.08), -0.15, 1.15)
            return low + share * (high - low)

        values = {name: within(*span) for name, span in
                  zip(NAMES, RANGES["portal_venous" if phase == "weak" else phase], strict=True)}
        if phase == "weak":  # less contrast medium, or poor kidneys: between native and portal venous
            share = rng.uniform(0.25, 0.65)
            for name, span in zip(NAMES, RANGES["native"], strict=True):
                values[name] = (1 - share) * within(*span) + share * values[name]
        if phase == "portal_venous" and values["medulla"] > values["cortex"]:
            values["medulla"] = values["cortex"] - rng.uniform(0, 20)
        if rng.random() < 1 / 6:
            values["liver"] -= rng.uniform(10, 60)
        values["blood"] = (values["artery"] + values["vein"]) / 2
        wild = bool(rng.random() < 1 / 5)
        if wild:
            for name in NAMES:
                if name not in ("cortex", "medulla", "urine"):
                    values[name] = rng.uniform(-10, 220)
            values["cortex"] = rng.uniform(20, 260)
            values["medulla"] = values["cortex"] * rng.uniform(0.55, 1.1)
            values["blood"] = rng.uniform(20, 350)
        return cls(
            phase=phase, wild=wild, muscle=rng.uniform(20, 90) if wild else rng.uniform(38, 68),
            fat=rng.uniform(-120, -88), lung=rng.uniform(-900, -720), marrow=float(rng.uniform(-20, 330)),
            bone=float(rng.uniform(280, 1000)), disc=rng.uniform(60, 110), bile=rng.uniform(-5, 25),
            skin=rng.uniform(-30, 50), fluid=rng.uniform(-5, 30), grain=rng.uniform(0.3, 1.8),
            **{name: float(value) for name, value in values.items()})


def at_voltage(tissues: Tissues, kilovolts: int) -> Tissues:
    """Returns the tissues at another tube voltage; low voltage makes iodine and bone brighter, 120 kV changes nothing.

    Raises:
        KeyError: if IODINE lacks the voltage.
    """
    factor = IODINE[kilovolts]
    names = (*NAMES, "blood", "bone", "marrow")
    values = {name: getattr(tissues, name) for name in names}
    return dataclasses.replace(tissues, **{name: value if value < SOFT_HU else SOFT_HU + factor * (value - SOFT_HU)
                                           for name, value in values.items()})


def shift(value: float, rng: np.random.Generator, spread: float = 6.0) -> float:
    """Returns the HU of a tissue elsewhere in the same patient: `value` plus normal noise of `spread`."""
    return float(value + rng.normal(0, spread))
