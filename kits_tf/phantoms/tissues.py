"""Hounsfield units of the phantoms' tissues in each contrast phase."""

import dataclasses

import numpy as np

AIR = -1000.0
LUNG = -840.0
SUBCUTANEOUS_FAT = -100.0
INNER_FAT = -105.0
SKIN = 15.0
MUSCLE = 57.0
DISC = 85.0
CORTICAL_BONE = 620.0
SPONGY_BONE = 190.0
SPINAL_CANAL = 25.0
BILE = 8.0
GUT_CONTENT = 22.0
CYST = 8.0
NECROSIS = 28.0
TABLE = -150.0
MATTRESS = -920.0


@dataclasses.dataclass(frozen=True)
class Phase:
    """Mean HU of the tissues that take up contrast medium, at one time after injection.

    Attributes:
        name: as in a radiology report.
        tumor: range of a tumor's mean; with contrast medium it is below cortex, near liver, muscle and gut.
        others: mean HU of one tissue each.
    """

    name: str
    cortex: float
    medulla: float
    urine: float
    tumor: tuple[float, float]
    artery: float
    vein: float
    liver: float
    portal: float
    spleen: float
    pancreas: float
    gut_wall: float


# KiTS19's scans are late arterial (Heller et al. 2019, arXiv:1904.00445); some are of a later phase.
ARTERIAL = Phase("arterial", cortex=205, medulla=128, urine=12, tumor=(65, 130), artery=265, vein=165, liver=92,
                 portal=135, spleen=125, pancreas=105, gut_wall=95)
NEPHROGRAPHIC = Phase("nephrographic", cortex=180, medulla=168, urine=15, tumor=(58, 115), artery=160, vein=158,
                      liver=115, portal=165, spleen=122, pancreas=95, gut_wall=85)
PHASES = (ARTERIAL, NEPHROGRAPHIC)

# Phases for scans that no threshold can segment: tumors from darker to brighter than medulla, spleen and liver nearly
# as bright as kidney, little contrast medium ("weak"), and none ("native").
HARD_PHASES = (
    Phase("arterial", cortex=200, medulla=128, urine=12, tumor=(80, 160), artery=265, vein=155, liver=98,
          portal=130, spleen=165, pancreas=118, gut_wall=115),
    Phase("nephrographic", cortex=172, medulla=160, urine=15, tumor=(85, 150), artery=160, vein=158, liver=135,
          portal=165, spleen=145, pancreas=110, gut_wall=105),
    Phase("weak", cortex=126, medulla=110, urine=12, tumor=(72, 114), artery=115, vein=112, liver=104,
          portal=112, spleen=112, pancreas=90, gut_wall=85),
    Phase("native", cortex=34, medulla=31, urine=7, tumor=(24, 46), artery=42, vein=40, liver=56, portal=42,
          spleen=48, pancreas=40, gut_wall=38),
)


def hard_phase(index: int) -> Phase:
    """Returns the phase of the hard case with this index; the phases alternate, so one case in four is non-contrast."""
    return HARD_PHASES[index % len(HARD_PHASES)]


def vary(phase: Phase, rng: np.random.Generator) -> Phase:
    """Returns the phase of a random patient: all HU scaled by a common factor, and single tissues by their own."""
    together = rng.uniform(0.92, 1.1)
    values: dict = {}
    for field in dataclasses.fields(phase):
        value = getattr(phase, field.name)
        if isinstance(value, tuple):
            values[field.name] = tuple(part * together for part in value)
        elif not isinstance(value, str):
            values[field.name] = value * together * rng.uniform(0.96, 1.04)
    return dataclasses.replace(phase, **values)
